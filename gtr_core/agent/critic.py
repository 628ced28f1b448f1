"""The value function: a head trained with the agent (the paper's), or a probe that only reads its hidden state."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from gtr_core.config import CriticConfig


class Critic(nn.Module):
    """An MLP to one value. Widths of `head` are the paper's d -> 1024 -> 512 -> 1, d taken from the model.

    A probe's features are standardised by a mean and a deviation that the first fit sets for good, so that a value
    means the same in every iteration.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, config: CriticConfig, generator: torch.Generator) -> None:
        super().__init__()
        widths = [features, 1024, 512, 1] if config.kind == "head" else [features, config.hidden, config.hidden, 1]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                with torch.no_grad():
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.zero_()
        with torch.no_grad():  # a new critic says 0 everywhere
            self.net[-1].weight.zero_()  # type: ignore[operator,union-attr]
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Values (B,) of features (B, F), fp32."""
        standard = (features.float() - self.mean) / self.deviation
        values: Tensor = self.net(standard)
        return values[..., 0]

    def standardise(self, features: Tensor) -> None:
        """Set mean and deviation from features (N, F); constant features keep deviation 1."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0)
        self.deviation.copy_(torch.where(spread > 1e-4, spread, 1.0))

    def tensors(self) -> dict[str, Tensor]:
        """A copy of its state on the CPU."""
        return {k: v.detach().cpu().clone() for k, v in self.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set its state."""
        self.load_state_dict(dict(tensors))


def fit(critic: Critic, features: Tensor, targets: Tensor, config: CriticConfig, generator: torch.Generator) -> None:
    """Fit a probe to returns by squared error.

    Args:
        critic: changed in place.
        features: (N, F).
        targets: (N,) returns of scaled rewards.
        config: learning rate, epochs and batch size.
        generator: shuffles.
    """
    optimiser = torch.optim.Adam(critic.parameters(), lr=config.lr)
    for _ in range(config.epochs):
        for batch in torch.randperm(len(targets), generator=generator).split(config.batch_size):
            loss = nn.functional.mse_loss(critic(features[batch]), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def explained_variance(value_N: Tensor, return_N: Tensor) -> float:
    """1 - Var(return - value) / Var(return): 1 is perfect, 0 no better than a constant, below 0 worse."""
    spread = float(return_N.var())
    return 1.0 - float((return_N - value_N).var()) / spread if spread > 0 else 0.0
