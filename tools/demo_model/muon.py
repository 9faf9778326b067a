"""Muon for the matrices, Adam for the rest; both keep their state in tensors that a checkpoint can hold.

Muon: momentum, then an orthogonalised update by the Newton-Schulz iteration (Jordan et al., 2024), scaled to a root mean
square of 0.2 as in Liu et al., arXiv 2502.16982, so that one learning rate suits both rules. Matrices of one shape step as a batch.
"""

import torch
from torch import Tensor, nn


def orthogonalize(g: Tensor) -> Tensor:
    """About U V^T of each g = U S V^T; g [batch, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    wide = x.shape[1] > x.shape[2]
    if wide:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        y = x @ x.mT
        x = a * x + (b * y + c * (y @ y)) @ x
    return x.mT if wide else x


class Optimizer:
    def __init__(self, matrices: list[nn.Parameter], others: list[nn.Parameter], decay: float = 0.05):
        self.groups: list[list[nn.Parameter]] = []
        for shape in sorted({tuple(p.shape) for p in matrices}):
            self.groups.append([p for p in matrices if tuple(p.shape) == shape])
        self.others = others
        self.decay = decay
        self.momentum = [torch.zeros_like(torch.stack(list(g))) for g in self.groups]
        self.first = [torch.zeros_like(p) for p in others]
        self.second = [torch.zeros_like(p) for p in others]
        self.steps = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        self.steps += 1
        mu = min(0.95, 0.85 + 0.1 * self.steps / 300)
        for group, momentum in zip(self.groups, self.momentum):
            gradient = torch.stack([p.grad for p in group])  # type: ignore[arg-type]
            momentum.lerp_(gradient, 1 - mu)
            update = orthogonalize(gradient.lerp(momentum, mu)).float()
            scale = 0.2 * max(update.shape[1:]) ** 0.5
            torch._foreach_mul_(group, 1 - rate * self.decay)
            torch._foreach_add_(group, list(update.unbind()), alpha=-rate * scale)
        gradients = [p.grad for p in self.others]
        torch._foreach_lerp_(self.first, gradients, 0.1)
        torch._foreach_lerp_(self.second, torch._foreach_mul(gradients, gradients), 0.05)
        bias1, bias2 = 1 - 0.9**self.steps, 1 - 0.95**self.steps
        root = torch._foreach_sqrt(torch._foreach_div(self.second, bias2))
        torch._foreach_add_(root, 1e-10)
        torch._foreach_addcdiv_(self.others, self.first, root, value=-rate / bias1)

    def zero(self) -> None:
        for p in [p for g in self.groups for p in g] + self.others:
            p.grad = None

    def state(self) -> dict[str, Tensor]:
        """Momenta in bf16: exact enough to go on from."""
        named = {"momentum": self.momentum, "first": self.first}
        out = {f"{k}.{i}": t.bfloat16() for k, ts in named.items() for i, t in enumerate(ts)}
        out |= {f"second.{i}": t.clone() for i, t in enumerate(self.second)}
        return out | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        for k, ts in {"momentum": self.momentum, "first": self.first, "second": self.second}.items():
            for i, t in enumerate(ts):
                t.copy_(state[f"{k}.{i}"])
        self.steps = int(state["steps"])
