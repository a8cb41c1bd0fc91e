"""Where a training runs: Lightning Fabric, or one device without it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["OneDevice", "best_device", "make_fabric"]


def best_device() -> str:
    """ "cuda", "mps" or "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def make_fabric(*, accelerator: str, devices: int, nodes: int, precision: str) -> Fabric | OneDevice:
    """Lightning Fabric; on a machine without it, as Colab, `OneDevice`.

    Raises:
        ValueError: several devices without Lightning Fabric, or an accelerator that this machine lacks.
    """
    if importlib.util.find_spec("lightning_fabric") is None:
        if devices * nodes > 1:
            raise ValueError("several devices need Lightning Fabric: pip install --no-deps lightning-fabric")
        return OneDevice(accelerator, precision)
    from lightning_fabric import Fabric

    strategy = "ddp" if devices * nodes > 1 else "auto"
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=precision,  # type: ignore[arg-type]
            strategy=strategy,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"accelerator {accelerator!r}, {devices} devices: {error}") from error


class OneDevice:
    """What `fit` asks of Lightning Fabric, for one device; mixed precision by `torch.autocast`."""

    world_size = 1
    global_rank = 0
    is_global_zero = True

    def __init__(self, accelerator: str, precision: str) -> None:
        kind = {"auto": best_device(), "gpu": "cuda"}.get(accelerator, accelerator)
        if kind == "cuda" and not torch.cuda.is_available():
            raise ValueError("accelerator 'gpu': found no GPU that torch can use; choose 'cpu'")
        self.device = torch.device(kind)
        mixed = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self._autocast: AbstractContextManager[Any] = (
            torch.autocast(kind, mixed) if mixed is not None else nullcontext()
        )
        self._scaler = torch.amp.GradScaler(kind, enabled=mixed is torch.float16)

    def launch(self) -> None:
        """There are no other processes to start."""

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """The network on the device, answering in float32 whatever it computes in; and an optimiser that steps."""
        network.to(self.device)
        return _Autocast(network, self._autocast), _Scaled(optimizer, self._scaler)

    def to_device(self, batch: Any) -> Any:
        """A tensor, or a tuple with tensors in it, on the device."""
        if isinstance(batch, Tensor):
            return batch.to(self.device, non_blocking=True)
        return type(batch)(*(self.to_device(part) if isinstance(part, Tensor) else part for part in batch))

    def backward(self, loss: Tensor) -> None:
        """Gradients of a scalar."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def clip_gradients(self, network: nn.Module, optimizer: Any, max_norm: float) -> None:
        """Shorten the gradient to `max_norm`."""
        self._scaler.unscale_(optimizer.optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), max_norm)

    @contextmanager
    def no_backward_sync(self, network: nn.Module, enabled: bool = True) -> Iterator[None]:  # noqa: ARG002
        """There is nobody to share gradients with."""
        yield

    def all_reduce(self, values: Tensor) -> Tensor:
        """The mean over all processes: of one."""
        return values

    def broadcast(self, value: Any) -> Any:
        """What the first process says."""
        return value


class _Autocast(nn.Module):
    def __init__(self, network: nn.Module, autocast: AbstractContextManager[Any]) -> None:
        super().__init__()
        self.network = network
        self._autocast = autocast

    def forward(self, images: Tensor) -> Any:
        with self._autocast:
            found = self.network(images)
        return found._replace(mask=found.mask.float(), attention=tuple(a_k.float() for a_k in found.attention))


class _Scaled:
    def __init__(self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        self.optimizer = optimizer
        self._scaler = scaler

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def step(self) -> None:
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()
