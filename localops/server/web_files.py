"""The files of `localops/web/`, at addresses that browsers keep.

A page names its files in a folder that stands for the contents of all of them, so that a page never mixes files of two
versions, and the next page asks for none of them again.  Without that folder in the address, a browser has to ask
whether a file is the same as before.

`NAME.bundle.js` is the module `NAME.js` with all that it imports, as one script.  As single files, a page would need up
to forty requests, each sent only when the file that imports it has arrived.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache, lru_cache

from starlette.responses import Response

from localops import __version__
from localops.reading import web_bundle
from localops.server.request import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

_WEB = web_bundle.WEB
_BUNDLE = ".bundle.js"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
# The first letter of the folder of a version; no file begins with it.
_MARK = "~"


def folder() -> str:
    """Return the folder of the present version, with a slash at each end."""
    return f"/web/{_MARK}{_version()}/"


async def answer(request: Request) -> Response:
    """Return a file: to be kept for good below the present version, and with its tag anywhere else."""
    name, version = str(request.path_params["name"]), None
    if name.startswith(_MARK):
        version, _, name = name.removeprefix(_MARK).partition("/")
    asset = _bundle(name, _version()) if name.endswith(_BUNDLE) else _asset(name, _stamp(name))
    if asset is None:
        raise HttpError(404, "this file does not exist")
    body, tag = asset
    kept = version is not None and version == _version()
    headers = {"ETag": tag, "Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, _TYPES[os.path.splitext(name)[1]])


def _version() -> str:
    return _version_of(tuple(sorted(_files(""))))


@lru_cache(1)
def _version_of(files: tuple[tuple[str, tuple[int, int] | None], ...]) -> str:
    """Return a digest of the names and contents of these files, which are read again only when one changes."""
    assets = {name: _asset(name, stamp) for name, stamp in files}
    tags = "".join(f"{name} {asset and asset[1]}\n" for name, asset in assets.items())
    return hashlib.sha256(f"{__version__}\n{tags}".encode()).hexdigest()[:16]


def _files(under: str) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield the name and the stamp of each file below a folder of `web/`."""
    with os.scandir(os.path.join(_WEB, under)) as entries:
        for entry in entries:
            name = under + entry.name
            if entry.is_dir():
                yield from _files(f"{name}/")
            elif stamp := _stamp(name):
                yield name, stamp


def _stamp(name: str) -> tuple[int, int] | None:
    """Return a file's modification time and size; None if the name is not that of a file in `web/`."""
    path = os.path.join(_WEB, name)
    parts = name.split("/")
    if not all(part and part[0] != "." for part in parts) or os.path.splitext(name)[1] not in _TYPES or "\\" in name:
        return None
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return None
    return facts.st_mtime_ns, facts.st_size


@cache
def _asset(name: str, stamp: tuple[int, int] | None) -> tuple[bytes, str] | None:
    """Return a file and its ETag; it is read again only when it changes."""
    if stamp is None:
        return None
    with open(os.path.join(_WEB, name), "rb") as file:
        return _tagged(file.read())


@lru_cache(32)
def _bundle(name: str, _: str) -> tuple[bytes, str] | None:
    """Return a module and its imports as one script, and its ETag; they are read again when any file changes."""
    module = name.removesuffix(_BUNDLE) + ".js"
    if _stamp(module) is None:
        return None
    return _tagged(web_bundle.together(module).encode())


def _tagged(body: bytes) -> tuple[bytes, str]:
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
