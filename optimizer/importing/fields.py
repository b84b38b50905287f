"""A published configuration's fields: read by any of their spellings, and counted, so that none that matters is passed over."""

import re
from collections.abc import Sequence
from typing import Any

from models.errors import InputError

Json = dict[str, Any]
LARGEST = 10_000_000

# What says nothing about tensors or about the work of a pass: positions, scaling of scores and weights, initial values, training,
# generation, token ids, vision and audio towers (which are left out), names.
HARMLESS = re.compile(
    r"""(
    .*_token_ids? | .*_token_index | .*_eps | .*epsilon |
    (?!no_).*rope.* | rotary.* | partial_rotary_factor |
    .*dropout | initializer_range | .*aux_loss.* | .*_loss | loss.* | transformers_version | (torch_)?dtype |
    architectures | auto_map | use_cache | max_position_embeddings | max_seq_len | max_length | min_length |
    model_type | _name_or_path | hidden_act(ivation)? | .*hidden_act | vision_.* | video_.* | audio_.* |
    image_.* | media_.* | .*placeholder | (norm|scale|scoring|score|topk_method|topk_func).* |
    routed_scaling_factor | pretraining_tp | ep_size |
    num_(beams|beam_groups|return_sequences|logits_to_keep|hash_layers) | temperature | top_[kp] |
    typical_p | .*penalty | return_.* | output_(attentions|hidden_states|scores|router_logits) |
    early_stopping | id2label | label2id | ignore_index | seq_aux | chunk_size.* | expand | time_step.* |
    rescale_prenorm_residual | residual_in_fp32 | use_mamba_kernels | use_conv_bias | mamba_ssm.*dtype |
    attention_(bias|value_scale|dropout) | add_.*_bias | qk_norm_type | use_qk_norm |
    use_(routing|moe_router)_bias | use_gemma_norm | .*softcapping | swiglu_.* | activation_situ.* |
    moe_(renormalize|router.*|layer_norm) | router_.* | use_grouped_topk | latent_moe_use_norm |
    attn_res_block_size | hc_.* | initial_context_length | mla_use_nope |
    tokenizer_class | use_bidirectional_attention | vocab_size_per_layer_input | moe_shared_expert_overlap |
    index_(share|skip).* | qk_head_dim | clip_qkv | mtp_hybrid_override_pattern |
    use_unified_vision_chunk | moe_normalize_expert_weights | moe_loss_weight | ffn_act_fn |
    moe_jitter_eps | resid_pdrop | emb_pdrop | attn_pdrop | tie_encoder_decoder |
    gate_lower_bound | sparse_(init|local|score|disable).* |
    mlp_bias | qkv_bias | _attn_implementation.* | layernorm_.*_(alpha|beta) | shared_moe_mode | for_llm_compressor |
    use_mrope | attn_(scale|temperature.*) | floor_scale
    )""",
    re.VERBOSE,
)


class Fields:
    """One object of a configuration; `taken` are the names that have been read."""

    def __init__(self, data: Json, origin: str) -> None:
        self.data, self.origin, self.taken = data, origin, set[str]()

    def refuse(self, name: str, value: object, remedy: str) -> InputError:
        """The sentence that refuses a value."""
        return InputError(f"{self.origin}: {name} = {str(value)[:60]!r} {remedy}")

    def get(self, *names: str) -> Any:
        """What these spellings of one thing hold; None where none does. All count as read; InputError where two disagree."""
        self.taken.update(names)
        found = [n for n in names if self.data.get(n) is not None]
        for name in found[1:]:
            if self.data[name] != self.data[found[0]]:
                raise self.refuse(name, self.data[name], f"contradicts {found[0]} = {str(self.data[found[0]])[:60]}; keep the true one")
        return self.data[found[0]] if found else None

    def present(self, *names: str) -> str:
        """The first of these names that holds something, else the last; all count as read."""
        self.taken.update(names)
        return next((n for n in names if self.data.get(n) is not None), names[-1])

    def count(self, *names: str, default: int | None = None) -> int:
        """A whole number from 1 (0 where `default` is 0) to 10 million under one of these spellings."""
        value = self.get(*names)
        if value is None:
            if default is None:
                raise InputError(f"{self.origin}: no {' or '.join(names)}; add it, or describe the architecture in an instance file")
            return default
        least = 0 if default == 0 else 1
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
            raise self.refuse(self.present(*names), value, f"must be a whole number from {least} to {LARGEST}; correct it")
        return value

    def optional(self, *names: str) -> int | None:
        """As `count`; None where it is absent or 0."""
        return self.count(*names, default=0) or None

    def flag(self, *names: str) -> bool:
        """A truth value; absent is false."""
        value = self.get(*names)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(self.present(*names), value, "must be true or false; correct it")
        return bool(value)

    def per_layer(self, layers: int, name: str, allowed: Sequence[Any] | None = None, drafts: int = 0) -> list[Any] | None:
        """A list with an entry per layer, each one of `allowed` or else a whole number; None where it is absent.

        Entries of up to `drafts` draft layers may follow; they are left out.
        """
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list | str) or not layers <= len(value) <= layers + drafts:
            held = f"{len(value)} entries" if isinstance(value, list | str) else value
            raise self.refuse(name, held, f"must have an entry for each of {layers} layers; correct one of them")
        for number, entry in enumerate(value):
            known = entry in allowed if allowed is not None else 0 <= entry <= LARGEST if isinstance(entry, int) else False
            if not known or isinstance(entry, bool):
                said = "a whole number" if allowed is None else f"one of {', '.join(map(str, allowed))}"
                raise self.refuse(f"{name}.{number}", entry, f"is not understood; write {said}")
        return list(value)[:layers]

    def must_be_off(self, name: str, why: str) -> None:
        """Refuses a feature that an architecture cannot express."""
        if self.get(name) not in (None, False, 0):
            raise self.refuse(name, self.data[name], f"is not supported ({why}); describe the model yourself")

    def part(self, name: str) -> "Fields":
        """An object inside this one."""
        value = self.get(name)
        if not isinstance(value, dict):
            raise self.refuse(name, value, "must be an object; correct it")
        return Fields(value, f"{self.origin}: {name}")

    def refuse_unknown(self, but: frozenset[str] = frozenset()) -> None:
        """Raises InputError for the first field that holds something and is neither read, nor in `but`, nor known to be harmless."""
        for name in sorted(set(self.data) - self.taken - but):
            if self.data[name] not in (None, False, 0, "", [], {}) and not HARMLESS.fullmatch(name):
                raise self.refuse(
                    name,
                    self.data[name],
                    "is not understood; remove it if it changes nothing here, or write the model yourself",
                )
