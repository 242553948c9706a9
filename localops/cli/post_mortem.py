"""The post-mortem of one session, as `localops why` prints it."""

from __future__ import annotations

from localops import config, output
from localops.cli import printing
from localops.reading import post_mortem, post_mortem_page
from localops.reading.sentences import names_events, plain, with_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.home import Project


def show(project: Project, id: bytes, *, form: str | None = None, as_json: bool = False) -> None:
    """Print how a session ended, as text, Markdown or JSON."""
    snapshot = project.snapshot(id)
    polling = config.polling(project.home)
    findings = post_mortem.of(project.name, snapshot, project.reader, polling=polling)
    if as_json:
        printing.print_json(post_mortem_page.document(findings))
    elif form == "md":
        for line in post_mortem_page.markdown(findings):
            print(line)
    else:
        printing.print_heading(snapshot)
        page = post_mortem_page.sections(findings)
        _print_page(page)
        if names_events(page):
            print()
            _print_wrapped(post_mortem_page.how_to_show(findings), printing.width())


def _print_page(page: list[tuple[str, list[list[str]]]]) -> None:
    room = printing.width()
    for number, (title, sentences) in enumerate(page):
        if number:
            print()
        print(printing.bold(title))
        for sentence in sentences:
            _print_wrapped(with_event(plain(sentence), sentence), room, "  ")


def _print_wrapped(text: str, room: int | None, margin: str = "") -> None:
    for line in output.wrap(text, max(room - len(margin), 20)) if room else [text]:
        print(f"{margin}{line}")
