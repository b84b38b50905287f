"""Names as benchmarks write them, matched to catalogue names.

Models. The organisation before the last "/" goes; the rest is split at "-", "_" and blanks, without case. Dropped wherever they stand:
precision tokens (FP8, NVFP4, W8A16, ...), tuning tokens (Instruct, Chat, it, Base, Thinking, hf, ...), the vendor (Meta, NVIDIA), dates
of 4, 6 or 8 digits (2507, 0528), v0.x, v2 after a precision, and the v of a version (v3.1). Two names match when the rest is equal
(separators do not count);
failing that, when one has the other's tokens in order and the surplus is only sizes (17B, 128E, A22B) and one catalogue model alone
fits; failing that, when `SAME_SHAPE` says that another release has the same tensors. Anything else (Distill, VL, Coder) never matches.

Accelerators. Text in parentheses, the vendor, counts ("8x") and HBM generation go. The chip's own tokens must be equal ("H800", "MI300X",
"RTX PRO 6000"; a surplus such as "Blackwell Server Edition" is allowed where one part alone fits). A stated form factor (SXM, PCIe, NVL)
or memory size may not contradict the catalogue's (10 % tolerance; of "40/80GB" the first that fits). Not stated: SXM, the larger memory.

Precisions. The column decides. Where it is empty, the model name's suffix does; where it says 16 bit but the name is of an 8 or 4 bit
checkpoint, weights are what the checkpoint stores and arithmetic is 16 bit: w8a16, w4a16. "16-bit" means bf16.
"""

import re

# fmt: off
TUNING = frozenset((
    "instruct", "chat", "it", "hf", "base", "thinking", "reasoning", "preview", "original", "exp", "terminus", "speciale",
    "meta", "nvidia", "pytorch", "transformers", "dynamic", "static", "block", "quantized", "kv", "marlin", "autoround", "unsloth",
))
VENDORS = frozenset((
    "nvidia", "amd", "google", "huawei", "intel", "tesla", "instinct", "gpu", "dgx", "hgx", "tensor", "core", "edition", "npu",
    "accelerator", "oam", "cloud",
))
# fmt: on
PRECISIONS = {
    "nvfp4": "fp4",
    "mxfp4": "fp4",
    "fp4": "fp4",
    "fp8": "fp8",
    "e4m3": "fp8",
    "w8a16": "w8a16",
    "w4a16": "w4a16",
    "w4afp8": "w4a8",
    "w4a8": "w4a8",
    "w8a8": "int8",
    "int8": "int8",
    "8bit": "int8",
    "int4": "w4a16",
    "4bit": "w4a16",
    "awq": "w4a16",
    "gptq": "w4a16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "16bit": "bf16",
    "fp32": "fp32",
    "tf32": "tf32",
}
SIXTEEN_BIT = ("bf16", "fp16")
SUFFIX_ON_16_BIT = {"fp8": "w8a16", "int8": "w8a16", "w8a16": "w8a16", "fp4": "w4a16", "w4a16": "w4a16", "w4a8": "w4a16"}
# Releases whose published config.json give the same tensors (context length and rotary scaling may differ).
SAME_SHAPE = (
    ("DeepSeek-V3", "DeepSeek-R1", "DeepSeek-V3.1"),
    ("Llama-3-8B", "Llama-3.1-8B"),
    ("Llama-3-70B", "Llama-3.1-70B", "Llama-3.3-70B"),
    ("GLM-4.5", "GLM-4.6", "GLM-4.7"),
    ("MiniMax-M2", "MiniMax-M2.1", "MiniMax-M2.5", "MiniMax-M2.7"),
)
ENGINES = (
    ("vllm", r"vllm"),
    ("sglang", r"sglang|\bsgl\b"),
    ("trtllm", r"tensorrt|\btrt"),
    ("lmdeploy", r"lmdeploy"),
    ("deepspeed", r"deepspeed"),
    ("fastertransformer", r"faster.?transformer"),
    ("llamacpp", r"llama\.?cpp"),
    ("tgi", r"\btgi\b|text.generation.inference"),
    ("mindie", r"mindie"),
)

Tokens = tuple[str, ...]


def model_tokens(name: str) -> Tokens:
    """What of a model name says which tensors it has."""
    text = re.sub(r"\(.*?\)", " ", name.strip().rsplit("/", 1)[-1]).casefold()
    text = re.sub(r"(\d)_(\d)(?=[-_\s]|$)", r"\1.\2", text)
    tokens: list[str] = []
    for token in re.split(r"[-_\s]+", text):
        joined = re.fullmatch(r"([a-z]{3,})(\d[\d.]*)", token)
        tokens += joined.groups() if joined and token not in PRECISIONS else [token]
    dropped = re.compile(r"\d{4}|\d{6}|\d{8}|v0(\.\d+)+|")
    kept = [t for t, before in zip(tokens, ["", *tokens], strict=False) if not (before in PRECISIONS and re.fullmatch(r"v\d", t))]
    named = (t for t in kept if t not in PRECISIONS and t not in TUNING and not dropped.fullmatch(t))
    return tuple(re.sub(r"^v(?=\d)", "", t) for t in named)


def leaves_only_sizes(longer: Tokens, shorter: Tokens) -> bool:
    """The shorter name is not empty, in order inside the longer one, and the surplus is sizes such as 17b, 128e, a22b."""
    rest = list(longer)
    for token in shorter:
        if token not in rest:
            return False
        rest.remove(token)
    in_order = [t for t in longer if t in shorter] == list(shorter)
    return bool(shorter) and in_order and all(re.fullmatch(r"a?\d+(\.\d+)?[bme]", t) for t in rest)


def best_spelling(name: str, candidates: list[str]) -> str:
    """Of catalogue names with the same tokens: the one written alike, else the shortest, else the first by alphabet."""
    written = name.rsplit("/", 1)[-1].casefold()
    return min(candidates, key=lambda c: (c.casefold() != written, len(c), c))


def find_model(name: str, catalogue: tuple[str, ...]) -> str | None:
    """The catalogue's name of a model, or None."""
    tokens = model_tokens(name)
    if not tokens:
        return None
    keys = {known: model_tokens(known) for known in catalogue}
    if equal := [known for known, key in keys.items() if "".join(key) == "".join(tokens)]:
        return best_spelling(name, equal)
    near = [known for known, key in keys.items() if leaves_only_sizes(tokens, key) or leaves_only_sizes(key, tokens)]
    if near and len({keys[known] for known in near}) == 1:
        return best_spelling(name, near)
    twins = [model_tokens(twin) for row in SAME_SHAPE if tokens in map(model_tokens, row) for twin in row]
    same = [[known for known, key in keys.items() if key == twin] for twin in twins]
    return next((best_spelling(name, spellings) for spellings in same if spellings), None)


class Part:
    """An accelerator's name taken apart: chip tokens, form factor, memory sizes in GB."""

    def __init__(self, name: str) -> None:
        text = re.sub(r"\(.*?\)", " ", name).casefold()
        text = re.sub(r"\b\d+\s*x\s+|\b\d+x(?=[a-z])|\bx\s?\d+\b|(?<=\w\d)x\d+$", " ", text)
        sizes = re.search(r"(\d+(?:\s*/\s*\d+)*)\s*gi?b?\b", text)
        self.memory_gb = [int(n) for n in re.findall(r"\d+", sizes[1])] if sizes else []
        text = text.replace(sizes[0], " ") if sizes else text
        form = re.search(r"sxm|pcie|nvl(?!\d)", text)
        self.form = form[0] if form else None
        text = re.sub(r"sxm\d?|pcie\d?|nvl\d*|hbm\w*", " ", text)
        self.tokens = tuple(t for t in re.split(r"[-_/\s]+", text) if t and t not in VENDORS)

    def allows(self, catalogued: "Part") -> bool:
        """What this name states does not contradict the catalogue's form and memory."""
        same_form = None in (self.form, catalogued.form) or self.form == catalogued.form
        return same_form and (not self.memory_gb or not catalogued.memory_gb or self.size_rank(catalogued) is not None)

    def size_rank(self, catalogued: "Part") -> int | None:
        """Which of the stated sizes is the catalogued one, within 10 %."""
        fits = [
            abs(s - catalogued.memory_gb[0]) * 10 <= max(s, catalogued.memory_gb[0]) if catalogued.memory_gb else True
            for s in self.memory_gb
        ]
        return fits.index(True) if True in fits else None


def find_accelerator(name: str, catalogue: tuple[str, ...]) -> str | None:
    """The catalogue's name of an accelerator, or None."""
    part, parts = Part(name), {known: Part(known) for known in catalogue}
    chip = "".join(part.tokens)
    if not chip:
        return None
    same = [known for known, p in parts.items() if "".join(p.tokens) in (chip, re.sub(r"(?<=[a-z])\d$", "", chip))]
    if not same:
        subset = [k for k, p in parts.items() if p.tokens and (set(p.tokens) <= set(part.tokens) or set(part.tokens) <= set(p.tokens))]
        same = subset if len({parts[k].tokens for k in subset}) == 1 else []
    fitting = [known for known in same if part.allows(parts[known])]
    if not fitting:
        return None

    def preference(known: str) -> tuple[int, bool, int, str]:
        return part.size_rank(parts[known]) or 0, parts[known].form == "pcie", -max(parts[known].memory_gb, default=0), known

    return min(fitting, key=preference)


def precision_in(text: str) -> str | None:
    """The first precision token of a text; "16-bit" and "fp8_block" count."""
    found = [PRECISIONS[t] for t in re.split(r"[-_\s.(),/]+", text.casefold().replace("16-bit", "16bit")) if t in PRECISIONS]
    return found[0] if found else None


def precision_of(column: str, model: str) -> str:
    """The precision a row ran at; the column's own word when it is none we know."""
    stated, suffix = precision_in(column), precision_in(model.rsplit("/", 1)[-1])
    if not column.strip():
        return suffix or "bf16"
    if stated in SIXTEEN_BIT and suffix in SUFFIX_ON_16_BIT:
        return SUFFIX_ON_16_BIT[suffix]
    return stated or re.sub(r"\(.*?\)", "", column).strip().casefold()


def engine_of(text: str) -> tuple[str, str]:
    """Engine and version: "TensorRT-LLM 0.14.0" is ("trtllm", "0.14.0"); an engine we do not know keeps its name, without blanks."""
    low = text.casefold()
    version = re.search(r"(?:^|[\sv~=])(\d+\.\d[\w./]*)", low)
    known = next((engine for engine, pattern in ENGINES if re.search(pattern, low)), None)
    bare = re.sub(r"\(.*?\)", "", low).strip()
    return known or "-".join(bare.split()) or "unstated", version[1] if version else ""
