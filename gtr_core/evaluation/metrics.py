"""From played episodes to figures with 95 % intervals."""

from collections.abc import Sequence

from gtr_core.evaluation.diversity import distinct, self_bleu
from gtr_core.evaluation.intervals import normal, wilson
from gtr_core.evaluation.play import Episode


def summarise(episodes: Sequence[Episode]) -> dict[str, float]:
    """Figures of a list of episodes.

    `success_rate` counts episodes won and `positive_return_rate` those of return > 0, which the released code calls
    success (PAPER.md 3.6, invariant 38). `thought_accuracy` is the share of judged turns in which every field of the
    thought is right by the solver; `thought_<field>` the same by field. Turns without a winning continuation have no
    right plan and are judged by the other fields. `thought_distinct` is the number of different thoughts over that of
    turns; self-BLEU and distinct-2 are of the thoughts, of which the fixed JSON words are a part.
    """
    n = len(episodes)
    wins = sum(e.won for e in episodes)
    low, high = wilson(wins, n)
    returns = [e.episode_return for e in episodes]
    return_low, return_high = normal(returns)
    thoughts = [t for e in episodes for t in e.thoughts if t]
    fields = sorted({k for t in thoughts for k in t})
    turns = sum(len(e.texts) for e in episodes)
    written = [t for e in episodes for t in e.thought_texts]
    figures = {
        "episodes": float(n),
        "success_rate": wins / n,
        "success_low": low,
        "success_high": high,
        "positive_return_rate": sum(r > 0 for r in returns) / n,
        "return_mean": sum(returns) / n,
        "return_low": return_low,
        "return_high": return_high,
        "turns_mean": turns / n,
        "truncated_rate": sum(e.ended == "truncated" for e in episodes) / n,
        "valid_rate": sum(sum(e.valid) for e in episodes) / turns,
        "legal_rate": sum(sum(e.legal) for e in episodes) / turns,
        "answer_tokens": sum(sum(e.tokens) for e in episodes) / turns,
        "tokens_generated": float(sum(sum(e.tokens) for e in episodes)),
        "thought_distinct": len(set(written)) / turns,
        "distinct_2": distinct(written),
        "self_bleu_2": self_bleu(written[:400]),
        "self_bleu_2_episode": sum(self_bleu(e.thought_texts) for e in episodes) / n,
    }
    if thoughts:
        figures["thought_accuracy"] = sum(all(t.values()) for t in thoughts) / len(thoughts)
        for name in fields:
            judged = [t[name] for t in thoughts if name in t]
            figures[f"thought_{name}"] = sum(judged) / len(judged)
    return figures
