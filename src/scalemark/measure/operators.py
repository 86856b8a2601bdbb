"""Count the operators of one round and the bytes that they take and give, in a pass of its own: never a timed one.

Counted below autograd, where composite operators have come apart: what is seen is what a kernel is called for. Left
out is what moves no data: an operator that writes to no argument (by its schema) and whose results all lie in storage
that it was given (views, `detach`, and `_unsafe_view`, of which the schema does not tell), one that only allocates
(`empty`), and one that asks only for a shape. `item` counts: it reads, and it waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from scalemark.schema import Operators

# They give memory without writing to it.
_ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"}
# They write over what their first argument holds, or ask it only for its shape.
_OVERWRITES = {"copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "_foreach_copy_", "_foreach_zero_"}
_SHAPED_LIKE = {"zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full"}
_FIRST_UNREAD = _OVERWRITES | _SHAPED_LIKE
# They give no tensor, and yet have to read one. Others that give none ask only for its shape.
_ANSWERS = {"_local_scalar_dense", "equal"}
# Questions to a tensor's metadata, and marks for the profiler.
_ASIDE = ("prim", "profiler")


def count_operators(run: Callable[[], None]) -> Operators:
    """Operators that `run` calls in this thread and in its backward passes, by name, and their bytes.

    Bytes read: of the distinct tensors that each call takes, as far as their view reaches: repeated (stride 0) elements
    count once, the rest of the storage not, a table that is looked up whole. Bytes written: of its results and of the
    arguments that it changes; those count as read too unless they are overwritten. Sparse tensors are left out.

    For a compiled workload pass the eager model: a dispatch mode keeps compiled code from running as it is, and fused
    kernels are no operators.
    """
    counter = _OperatorCounter()
    # Autograd hands modes on to the device's own thread; in one thread no two calls can be counted at once.
    with torch.autograd.set_multithreading_enabled(False), counter:
        run()
    return Operators(
        calls=dict(sorted(counter.calls.items())),
        bytes_read=counter.bytes_read,
        bytes_written=counter.bytes_written,
    )


class _OperatorCounter(TorchDispatchMode):
    """Sees every operator below autograd while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()
        self.bytes_read = 0
        self.bytes_written = 0

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in _ASIDE:
            return func(*args, **kwargs)
        with self:  # inference mode skips autograd, so composite operators arrive whole
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        results = func(*args, **kwargs)
        self._count(_Call(func, args, kwargs, results))
        return results

    def _count(self, call: "_Call") -> None:
        if call.moves_data:
            self.calls[f"{call.namespace}.{call.name}"] += 1
            self.bytes_read += _bytes(call.read)
            self.bytes_written += _bytes(call.written)


class _Call:
    """One call of an operator: which tensors it read and which it wrote."""

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], results: Any) -> None:
        self.namespace, self.name = func.namespace, func._opname
        changed = _changed_arguments(func._schema.arguments, args, kwargs)
        taken, given = list(_tensors((args, kwargs))), list(_tensors(results))
        known = {_storage(tensor) for tensor in taken}
        self.written = [*_tensors([value for _, value in changed])]
        self.written += [tensor for tensor in given if _storage(tensor) not in known]
        unread_values = [*(value for is_out, value in changed if is_out), *args[: self.name in _FIRST_UNREAD]]
        unread = {_place(tensor) for tensor in _tensors(unread_values)}
        self.read = [tensor for tensor in taken if _place(tensor) not in unread]
        self.moves_data = (bool(self.written) or self.name in _ANSWERS) and self.name not in _ALLOCATIONS


def _changed_arguments(arguments: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[bool, Any]]:
    """What the schema's arguments say is written to, and whether it is an `out=` whose old content is not read."""
    values = [args[i] if i < len(args) else kwargs.get(argument.name) for i, argument in enumerate(arguments)]
    return [
        (argument.is_out, value)
        for argument, value in zip(arguments, values, strict=True)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor) and value.layout == torch.strided)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for two tensors that are the same elements."""
    return (_storage(tensor), tensor.storage_offset(), tensor.shape, tensor.stride())


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct ones, elements that a stride of 0 repeats counted once."""
    distinct = {_place(tensor): tensor for tensor in tensors}
    return sum(
        tensor.itemsize * prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
        for tensor in distinct.values()
    )
