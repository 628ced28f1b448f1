"""The page of an episode: self-contained, escaped, every turn on it."""

from html.parser import HTMLParser

from gtr_core import envs
from gtr_core.envs.page import episode_page
from gtr_core.envs.play import oracle_policy, play_episode


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    return page


def test_a_page_shows_every_turn_and_needs_nothing_else() -> None:
    env = envs.make("gtr/EZPoints-v0")
    turns = play_episode(env, oracle_policy, 0)
    html = episode_page(turns, "EZPoints, oracle")
    page = read(html)
    assert page.tags.count("section") == page.tags.count("img") == len(turns) == 4
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "return 10, won" in html
    assert "plan ✓" in html


def test_what_an_agent_writes_is_escaped() -> None:
    env = envs.make("gtr/EZPoints-v0", layout="compact", truncate_on_illegal=True)
    turns = play_episode(env, lambda env, rng: "<script>alert(1)</script>", 0)
    html = episode_page(turns, "<b>")
    assert "script" not in read(html).tags
    assert "a random one was played" in html


def test_an_empty_episode_has_a_page() -> None:
    assert "0 turns" in episode_page([], "nothing")
