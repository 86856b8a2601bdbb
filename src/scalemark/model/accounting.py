"""Parameters, FLOPs and bytes of a transformer, from its shape alone (no torch).

Counted per block, with d = d_model, f = d_ff, T = seq_len, B = batch, V = vocab_size:

    RMSNorm gains      d                     twice
    query, key, value  3·d²                  one matrix
    attention output   d²
    feed-forward       2·d·f (ReLU²)         3·d·f (SwiGLU)

plus the token table V·d, the final gain d, and an untied head V·d. FLOPs of linear layers are 2 per weight and token
(Kaplan et al. 2020, section 2.1); attention adds 2·2·T²·d per sequence and layer (PaLM, appendix B). Left out as in
those papers: norms, rotary positions, softmax, activations, the loss.
"""

from scalemark.schema import Accounting, Dtype, Flops, ModelConfig, Optimizer, Workload

_MASTER_BYTES = 4
_STATES_PER_PARAMETER = {"adamw": 2, "sgd": 0}


def params_per_block(model: ModelConfig) -> int:
    """Parameters of one transformer block, its two gains included."""
    matrices = 2 if model.activation == "relu2" else 3
    return 2 * model.d_model + 4 * model.d_model**2 + matrices * model.d_model * model.d_ff


def account_workload(workload: Workload) -> Accounting | None:
    """`account` of a rung's workload, with what its options change; None for a user's own task.

    Micro-batches keep the activations and logits of one part at a time. Checkpointed, a block keeps its input alone,
    and the block whose turn it is has all of its own; the head is not repeated.
    """
    model, batch, seq_len = workload.model, workload.batch, workload.seq_len
    if model is None or batch is None or seq_len is None:
        return None
    whole = account(model, batch, seq_len, workload.dtype, workload.optimizer)
    part = account(model, batch // workload.micro_batches, seq_len, workload.dtype, workload.optimizer)
    changes: dict[str, object] = {"activation_bytes": part.activation_bytes, "logits_bytes": part.logits_bytes}
    if workload.checkpointed:
        changes["activation_bytes"] = _checkpointed_bytes(model, part)
        changes["flops"] = whole.flops.model_copy(update={"recompute_forward_passes": repeated_share(model, whole)})
    return whole.model_copy(update=changes)


def repeated_share(model: ModelConfig, whole: Accounting) -> float:
    """FLOPs that the backward pass repeats under checkpointing, over those of the forward pass.

    All of a block but its last product: torch stops as soon as it has all that was kept, and nothing keeps the result.
    """
    last_product = 2 * model.n_layer * model.d_ff * model.d_model * whole.items
    head = 2 * model.vocab_size * model.d_model * whole.items
    forward = whole.flops.matmul + whole.flops.attention_full
    return (forward - head - last_product) / forward


def _checkpointed_bytes(model: ModelConfig, part: Accounting) -> int:
    assert part.activation_bytes is not None
    inputs_bytes = model.n_layer * part.items * model.d_model * _MASTER_BYTES
    return inputs_bytes + part.activation_bytes // model.n_layer


def account(
    model: ModelConfig, batch: int, seq_len: int, dtype: Dtype = "float32", optimizer: Optimizer | None = "adamw"
) -> Accounting:
    """Everything that follows from the shape for one batch of `batch` sequences of `seq_len` tokens.

    dtype: of the matrix products; parameters, gradients and optimizer states stay float32 (mixed precision).
    """
    table = model.vocab_size * model.d_model
    head = 0 if model.tied_head else table
    params_total = model.n_layer * params_per_block(model) + model.d_model + table + head
    parameter_bytes = params_total * _MASTER_BYTES
    return Accounting(
        params_total=params_total,
        params_embedding=table,
        params_head=head,
        items=batch * seq_len,
        n_layer=model.n_layer,
        flops=forward_flops(model, batch, seq_len),
        parameter_bytes=parameter_bytes,
        gradient_bytes=parameter_bytes,
        optimizer_state_bytes=parameter_bytes * _STATES_PER_PARAMETER[optimizer] if optimizer else 0,
        activation_bytes=_activation_bytes(model, batch * seq_len, dtype),
        logits_bytes=batch * seq_len * model.vocab_size * _MASTER_BYTES,
        attention_scores=attention_scores(model, batch, seq_len),
    )


def attention_scores(model: ModelConfig, batch: int, seq_len: int) -> int:
    """One for each head, layer and pair of tokens; all pairs, though the mask leaves half."""
    return model.n_layer * model.n_head * batch * seq_len**2


def forward_flops(model: ModelConfig, batch: int, seq_len: int) -> Flops:
    """FLOPs of one forward pass over the batch, one field per convention."""
    gains = 2 * model.d_model
    weights = model.n_layer * (params_per_block(model) - gains) + model.vocab_size * model.d_model
    per_pair = 2 * 2 * model.n_layer * model.d_model * batch
    return Flops(
        matmul=2 * weights * batch * seq_len,
        attention_full=per_pair * seq_len**2,
        attention_causal=per_pair * seq_len * (seq_len + 1) // 2,
    )


def _activation_bytes(model: ModelConfig, tokens: int, dtype: Dtype) -> int:
    """Bytes that the forward pass keeps for the backward pass, logits apart.

    Per token and block: two norm inputs and outputs (4·d), query and key before their norm (2·d), query, key, value
    and output of attention (4·d), and the hidden layer: two tensors of f for ReLU², four for SwiGLU.
    """
    hidden_tensors = 2 if model.activation == "relu2" else 4
    per_token = model.n_layer * (10 * model.d_model + hidden_tensors * model.d_ff)
    return tokens * per_token * (4 if dtype == "float32" else 2)
