"""The RL update: epochs of PPO over one rollout, with examples beside it where the method imitates (PAPER.md 1.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from gtr_core.agent.critic import Critic
from gtr_core.agent.finite import NonFiniteError
from gtr_core.agent.policy import Policy
from gtr_core.config import PPOConfig
from gtr_core.rl.advantages import Targets, targets
from gtr_core.rl.optimiser import Optimiser
from gtr_core.rl.ppo import policy_loss, span_weights, value_loss
from gtr_core.rl.ranks import Ranks
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout, SFTExample

ALONE = Ranks()


@dataclass
class Statistics:
    """Running sums of an update, reported as means and extremes."""

    sums: dict[str, float] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: float, count: float) -> None:
        """Add `count` observations whose sum is `value`."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.sums[name + "#"] = self.sums.get(name + "#", 0.0) + count

    def top(self, name: str, value: float) -> None:
        """Keep the largest."""
        self.maxima[name] = max(value, self.maxima.get(name, float("-inf")))

    def join(self, other: "Statistics") -> None:
        """Add what another one gathered."""
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        for name, value in other.maxima.items():
            self.top(name, value)

    def result(self) -> dict[str, float]:
        """Means and maxima by name."""
        means = {k: v / max(self.sums[k + "#"], 1.0) for k, v in self.sums.items() if not k.endswith("#")}
        return means | self.maxima


class Trainer:
    """A policy, its critic and their optimiser; one `update` an iteration.

    Where it is one of several `ranks`, each calls `update` with the same arguments and takes a share of the
    microbatches; all end with the same weights.
    """

    def __init__(
        self, policy: Policy, critic: Critic, config: PPOConfig, *, joint_critic: bool, ranks: Ranks = ALONE
    ) -> None:
        self.policy, self.critic, self.config, self.joint_critic = policy, critic, config, joint_critic
        self.ranks = ranks
        own = {f"critic.{n}": p for n, p in critic.named_parameters()} if joint_critic else {}
        self.parameters: dict[str, Tensor] = {**policy.trainable, **own}
        self.optimiser = _optimiser(self.parameters, config, ranks)

    def update(
        self, rollout: Rollout, guidance: Terms, lr: float, shuffle: torch.Generator
    ) -> tuple[dict[str, float], Tensor]:
        """Train on one rollout; metrics and the value targets (N,).

        Raises:
            NonFiniteError: a loss or a gradient is NaN or infinite; nothing was published then.
        """
        config = self.config
        self.optimiser.set_lr(lr)
        aim = targets(rollout, config, guidance.penalty_N, guidance.kl, rl=guidance.rl)
        statistics = Statistics()
        first_error: float | None = None
        stopped = 0.0
        for epoch in range(config.epochs):
            divergence, turns = 0.0, 0
            for minibatch in torch.randperm(rollout.size, generator=shuffle).split(config.minibatch):
                share = self._ppo_backward(rollout, guidance, aim, minibatch)
                if share.ratio_max > config.ratio_guard and len(minibatch) > config.microbatch:
                    # The guard is the minibatch's: its other microbatches must be clipped alike.
                    share = self._ppo_backward(rollout, guidance, aim, minibatch, clipped_only=True)
                statistics.join(share.statistics)
                divergence, turns = divergence + share.divergence, turns + len(minibatch)
                first_error = share.ratio_error if first_error is None else first_error
                if guidance.examples:
                    self._sft_backward(guidance, len(minibatch), shuffle, statistics)
                self._step(statistics)
            statistics.sums["ppo/kl_old_new"], statistics.sums["ppo/kl_old_new#"] = divergence, turns
            if config.target_kl and divergence / turns > config.target_kl:
                stopped = float(config.epochs - epoch - 1)
                break
        metrics = statistics.result() | {
            "ppo/ratio_start_error": first_error or 0.0,
            "ppo/epochs_skipped": stopped,
            "ppo/lr": lr,
            "ppo/return_mean": float(aim.return_N.mean()),
            "ppo/value_mean": float(rollout.value_T_E.mean()),
        }
        return metrics, aim.return_N

    def _ppo_backward(
        self,
        rollout: Rollout,
        guidance: Terms,
        aim: Targets,
        minibatch: Tensor,
        *,
        clipped_only: bool = False,
    ) -> "_Share":
        """Gradients of one minibatch, from none."""
        config, device = self.config, self.policy.device
        weight_total = sum(self._turn_weight(rollout, n) for n in minibatch.tolist())
        divisor = len(minibatch) if config.ratio == "answer" else weight_total or 1.0
        statistics = Statistics()
        divergence, error, largest = 0.0, 0.0, 0.0
        self.optimiser.zero_grad()
        for micro, counts in self.ranks.share(minibatch.split(config.microbatch)):
            index = micro.tolist()
            prompts = [self.policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in index]
            scores = self.policy.score(prompts, [rollout.answers_N[n] for n in index])
            old = _padded([rollout.logp_N[n] for n in index], scores.logp_B_R)
            thought = torch.tensor([rollout.thought_N[n] for n in index], device=device)
            weight = span_weights(scores.mask_B_R, thought, config.thought_coef)
            advantage = aim.advantage_N[micro].to(device)[:, None].expand_as(old)
            if guidance.kl is not None and guidance.kl.per == "token" and guidance.penalty_tokens is not None:
                # The turn's mean is already in the advantage; each token carries its own share instead.
                assert guidance.penalty_N is not None
                mean = guidance.penalty_N[micro].to(device)[:, None]
                own = _padded([guidance.penalty_tokens[n] for n in index], old)
                advantage = advantage + guidance.kl.beta * (mean - own)
            policy_part = policy_loss(scores.logp_B_R, old, weight, advantage, config, clipped_only=clipped_only)
            loss = policy_part.total / divisor
            if self.joint_critic and guidance.rl:
                value = self.critic(scores.hidden_B_D)
                before, wanted = rollout.value_T_E.flatten()[micro].to(device), aim.return_N[micro].to(device)
                value_part = value_loss(value, before, wanted, config.value_clip)
                loss = loss + config.value_coef * value_part / len(minibatch)
                if counts:
                    statistics.add("ppo/value_loss", float(value_part.detach()), len(index))
            _finite(loss, "the PPO loss")
            self.optimiser.backward(loss * counts)
            if not counts:
                continue
            change = (old - scores.logp_B_R.detach()) * scores.mask_B_R
            divergence += float((torch.expm1(-change) + change).sum())
            if policy_part.ratio.numel():
                error = max(error, float((policy_part.ratio - 1).abs().max()))
                largest = max(largest, float(policy_part.ratio.max()))
            statistics.add("ppo/policy_loss", float(policy_part.total.detach()), float(weight.sum()))
            statistics.add("ppo/clip_fraction", float(policy_part.clipped.sum()), policy_part.clipped.numel())
            statistics.add("ppo/entropy", float(scores.entropy_B_R.sum()), float(scores.mask_B_R.sum()))
        statistics.top("ppo/ratio_max", largest)
        return self._joined(_Share(divergence, error, largest, statistics))

    def _joined(self, own: "_Share") -> "_Share":
        """What all ranks together came to."""
        if self.ranks.count == 1:
            return own
        shares = [
            _Share(d, e, m, Statistics(**s))
            for d, e, m, s in self.ranks.gather(
                [own.divergence, own.ratio_error, own.ratio_max, asdict(own.statistics)]
            )
        ]
        statistics = Statistics()
        for share in shares:
            statistics.join(share.statistics)
        errors, largest = (max(getattr(s, name) for s in shares) for name in ("ratio_error", "ratio_max"))
        return _Share(sum(s.divergence for s in shares), errors, largest, statistics)

    def _turn_weight(self, rollout: Rollout, n: int) -> float:
        thought = rollout.thought_N[n]
        return self.config.thought_coef * thought + len(rollout.answers_N[n]) - thought

    def _sft_backward(self, guidance: Terms, count: int, shuffle: torch.Generator, statistics: Statistics) -> None:
        """One uniformly drawn example a PPO sample (invariant 30); the mean loss a thought token."""
        drawn = torch.randint(len(guidance.examples), (count,), generator=shuffle)
        tokens = sum(taught_tokens(guidance.examples[i]) for i in drawn.tolist())
        own = statistics if self.ranks.count == 1 else Statistics()
        for micro, counts in self.ranks.share(drawn.split(self.config.microbatch)):
            examples = [guidance.examples[i] for i in micro.tolist()]
            loss = imitation_loss(self.policy, examples)
            part = guidance.sft_weight * loss / max(tokens, 1)
            _finite(part, "the imitation loss")
            self.optimiser.backward(part * counts)
            if counts:
                own.add("guidance/sft_loss", float(loss.detach()), sum(map(taught_tokens, examples)))
        if own is not statistics:
            for sums in self.ranks.gather(own.sums):
                statistics.join(Statistics(sums))

    def _step(self, statistics: Statistics) -> None:
        norm = self.optimiser.step()
        _finite(norm, "the gradient norm")
        statistics.add("ppo/grad_norm", float(norm), 1)


@dataclass(frozen=True)
class _Share:
    divergence: float  # sum over turns of KL(old, new) by k3, nats
    ratio_error: float  # largest |ratio - 1|
    ratio_max: float
    statistics: Statistics


def _optimiser(parameters: Mapping[str, Tensor], config: PPOConfig, ranks: Ranks) -> Optimiser:
    """The optimiser as `ranks` share it."""
    if not ranks.zero:
        return Optimiser(parameters, config, ranks)
    from gtr_core.rl.zero import ZeroOptimiser  # with the extra `deepspeed`

    return ZeroOptimiser(parameters, config, ranks)


def taught_tokens(example: SFTExample) -> int:
    """How many of an example's tokens carry loss."""
    return len(example.answer) if example.thought is None else example.thought


def imitation_loss(policy: Policy, examples: Sequence[SFTExample]) -> Tensor:
    """Summed negative log-likelihood of the taught tokens at temperature 1; prompt, padding and action carry none
    (invariant 29)."""
    prompts = [policy.encode(s.image, s.prompt) for s in examples]
    scores = policy.score(prompts, [s.answer for s in examples], temperature=1.0)
    taught = torch.tensor([taught_tokens(s) for s in examples], device=scores.logp_B_R.device)
    mask = torch.arange(scores.logp_B_R.shape[1], device=taught.device) < taught[:, None]
    return -(scores.logp_B_R * mask).sum()


def _padded(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    out = torch.zeros_like(like, requires_grad=False)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=out.dtype)
    return out


def _finite(tensor: Tensor, name: str) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise NonFiniteError(f"{name} is {float(tensor)}: the update stops and the last checkpoint stands.")
