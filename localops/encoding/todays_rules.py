"""The current rules of redaction: the built-in ones, those of the settings, and secrets of the environment."""

from __future__ import annotations

import os

from localops.encoding.redact import Redactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.config import Config


def redactor(config: Config) -> Redactor | None:
    """Return the redactor for a configuration, or None if redaction is off."""
    wanted: Any = config.redact
    if wanted is False:
        return None
    secrets = [config.api_key] if config.api_key else []
    if callable(wanted):
        return Redactor(
            secrets=secrets, patterns=config.patterns, hook=lambda _, text: wanted(text), environ=os.environ
        )
    own = () if wanted is True else wanted
    patterns = dict.fromkeys((*config.patterns, *own))
    return Redactor(secrets=secrets, patterns=patterns, environ=os.environ)
