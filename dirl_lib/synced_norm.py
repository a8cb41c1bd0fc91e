"""Batch norm over the batches of all processes, also on CPUs.

torch has `nn.SyncBatchNorm` for GPUs alone. With small parts of a batch on each device the statistics of one part are
noise; and only with common ones do two processes compute what one process would.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SyncedBatchNorm", "synchronise_batch_norm"]


def synchronise_batch_norm(network: nn.Module, device: str) -> nn.Module:
    """Every `BatchNorm2d` replaced by one that sees the whole batch; weights and names stay.

    Args:
        network: changed in place, and returned.
        device: "cuda" takes `nn.SyncBatchNorm`, everything else `SyncedBatchNorm`.
    """
    if device == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                synced.load_state_dict(child.state_dict())
                setattr(parent, name, synced)
    return network


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the images of all processes, as many on each."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised by the statistics of all processes in training, by the running ones otherwise."""
        if not self.training:
            return super().forward(x)
        world = torch.distributed.get_world_size()
        moments = torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
        together: Tensor = _SumOverProcesses.apply(moments) / world
        mean, mean_of_squares = together
        variance = (mean_of_squares - mean.square()).clamp(min=0)
        self._remember(mean.detach(), variance.detach(), world * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return normalised

    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * values / (values - 1), self.momentum)  # unbiased, as torch does


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor. Each sum depends on each summand, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx: object, summand: Tensor) -> Tensor:  # noqa: ARG004
        total = summand.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total
