"""DeepSpeed, set up so that nothing is compiled on a CPU and jobs run side by side.

DeepSpeed 0.19.8 builds C++ extensions at run time (minutes each). On a CPU none is needed:
`__compatible_ops__` (a private mapping; a test pins its behaviour) says that the shared-memory
collectives are absent, and `torch.optim.AdamW` takes the place of CPUAdam. On CUDA DeepSpeed's
FusedAdam is used, as in the paper's stack.
https://www.deepspeed.ai/docs/config-json/
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optimer.schema.train import TrainParams

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@contextmanager
def process_group(rank: int, world: int) -> Iterator[Any]:
    """The torch device of this process, with torch.distributed and DeepSpeed initialised.

    Alone (`world` = 1) the rendezvous is a store in memory: no port is opened, and the group
    stays for the life of the process, since DeepSpeed keeps handles on it. Otherwise the
    launcher's environment (RANK, MASTER_PORT, …) is used.
    """
    import torch

    cuda = torch.cuda.is_available()
    added = [name for name in ("LOCAL_RANK", "DS_ACCELERATOR") if name not in os.environ]
    os.environ.setdefault("LOCAL_RANK", str(rank))
    if not cuda:
        keep_freed_memory()
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        # DeepSpeed's Muon module decorates functions with torch.compile at import, which loads
        # the whole compiler (2 s); nothing here is compiled.
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    deepspeed = quiet_deepspeed()
    backend = "nccl" if cuda else "gloo"
    if world == 1 and not torch.distributed.is_initialized():
        store = torch.distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
        torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    try:
        yield device
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()
        for name in added:
            os.environ.pop(name, None)


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks instead of handing them back: a training step frees
    and takes the same ones again, and fresh pages cost a tenth of a toy step (glibc only)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def quiet_deepspeed() -> Any:
    """Import DeepSpeed without its log lines and without any run-time build on a CPU."""
    import logging
    import warnings

    import torch

    for message in ("reduce_scatter_tensor", "all_gather_into_tensor"):
        warnings.filterwarnings("ignore", message=f".*{message}.*", category=FutureWarning)

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    import deepspeed
    import deepspeed.ops
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    if not torch.cuda.is_available():
        # Set as a whole: reading it would probe every extension with the C compiler.
        deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": False}  # pyright: ignore
    return deepspeed


def config(settings: TrainParams) -> dict[str, Any]:
    """The DeepSpeed configuration of one run.

    bfloat16 gradients of several micro batches are summed in fp32: eight of them summed in
    bfloat16 would lose the small ones.
    """
    half = settings.precision == "bfloat16"
    sums = {"data_types": {"grad_accum_dtype": "fp32"}} if half and settings.zero_stage else {}
    return sums | {
        "train_micro_batch_size_per_gpu": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.clip,
        "bf16": {"enabled": half},
        "zero_optimization": {"stage": settings.zero_stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "checkpoint": {"tag_validation": "Ignore"},
        "steps_per_print": 1 << 60,
        "wall_clock_breakdown": False,
    }


def parameter_groups(model: Any, settings: TrainParams) -> list[dict[str, Any]]:
    """Trained parameters: matrices decay, vectors (norms, biases) do not.

    The paper gives 0.1 without saying what it applies to; decaying matrices only is the custom
    of GPT-3-style recipes (our assumption). Shapes come from `ds_shape` where ZeRO-3 has already
    partitioned the parameter.
    """
    matrices, vectors = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            shape = getattr(parameter, "ds_shape", parameter.shape)
            (matrices if len(shape) > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def initialize(model: Any, settings: TrainParams) -> tuple[Any, str]:
    """DeepSpeed engine around `model`, and the name of the optimizer it drives."""
    import deepspeed
    import torch

    options = {"lr": settings.learning_rate, "betas": (settings.beta1, settings.beta2)}
    groups = parameter_groups(model, settings)
    if torch.cuda.is_available():
        from deepspeed.ops.adam import FusedAdam

        optimizer: Any = FusedAdam(groups, adam_w_mode=True, **options)
        name = "deepspeed.ops.adam.FusedAdam"
    else:
        optimizer = torch.optim.AdamW(groups, **options)
        name = "torch.optim.AdamW"
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config(settings))
    return engine, name
