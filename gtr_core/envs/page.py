"""Episodes as one self-contained HTML page: frames, prompts, thoughts, actions, rewards."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.play import Turn

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
section{display:grid;grid-template-columns:300px 1fr;gap:1.5rem;border-top:1px solid #ddd;padding:1.2rem 0}
img{width:300px;image-rendering:pixelated;border:1px solid #ddd}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f4;padding:.6rem;margin:.3rem 0;font-size:13px}
.thought{background:#eef4fb}.action{background:#fdf3e1}.right{color:#17691c}.wrong{color:#a11}
summary{cursor:pointer;color:#555}h3{margin:0}
@media(max-width:44rem){section{grid-template-columns:1fr}}
"""


def episode_page(turns: Sequence[Turn], title: str) -> str:
    """The page of an episode's turns, as `play_episode` returns them."""
    return episodes_page([turns], title)


def episodes_page(episodes: Sequence[Sequence[Turn]], title: str) -> str:
    """The page of several episodes, one below the other."""
    bodies = "\n".join(
        _episode(turns, f"Episode {number}: " if len(episodes) > 1 else "") for number, turns in enumerate(episodes, 1)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>{bodies}\n</body></html>\n"
    )


def _episode(turns: Sequence[Turn], label: str) -> str:
    total = sum(outcome.reward for _, outcome in turns)
    last = turns[-1][1] if turns else None
    end = "" if last is None else "won" if last.won else "truncated" if last.truncated else "not won"
    body = "\n".join(_section(i, turn) for i, turn in enumerate(turns, start=1))
    return f"<p>{label}{len(turns)} turns, return {total:g}, {end}.</p>\n{body}"


def _section(number: int, turn: Turn) -> str:
    seen, outcome = turn
    answer = outcome.answer
    read = "" if answer.legal else " (no action could be read: a random one was played)"
    verdicts = " ".join(
        f'<span class="{"right" if right else "wrong"}">{escape(name)} {"✓" if right else "✗"}</span>'
        for name, right in outcome.thought.items()
    )
    thought, action = answer.text[: answer.action_start], answer.text[answer.action_start :]
    return (
        f'<section><img alt="what the agent sees in turn {number}" src="{_data_url(seen.image)}"><div>'
        f"<h3>Turn {number}: reward {outcome.reward:g}{escape(read)}</h3>"
        f"<details><summary>prompt</summary><pre>{escape(seen.prompt)}</pre></details>"
        f'<pre class="thought">{escape(thought)}</pre><pre class="action">{escape(action)}</pre>'
        f"<p>{verdicts}</p></div></section>"
    )


def _data_url(picture: Picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
