"""Colours and symbols that stay apart for colour-blind readers, on a light page and on a dark one."""

# Okabe and Ito 2008, without the yellow and the black: they vanish on a white or a dark page.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
MODEL_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MODEL_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
GREY = "#888888"
# From low to high: no end of it vanishes on either page.
RAMP = (BLUE, SKY, ORANGE, VERMILLION)
DTYPE_COLOURS = {"float32": BLUE, "bfloat16": ORANGE}
# A term has one colour in every chart; what is arithmetic is blue, what moves bytes is red or green.
TERM_COLOURS = {
    "overhead_s": GREY,
    "per_layer_s": ORANGE,
    "compute_s_per_flop": BLUE,
    "matmul_s_per_flop": BLUE,
    "attention_s_per_flop": SKY,
    "activation_s_per_byte": VERMILLION,
    "state_s_per_byte": GREEN,
}


def ramp(count: int) -> list[str]:
    """So many colours, evenly along `RAMP`."""
    places = [place * (len(RAMP) - 1) / max(1, count - 1) for place in range(count)]
    return [_mixed(RAMP[int(place)], RAMP[min(int(place) + 1, len(RAMP) - 1)], place % 1) for place in places]


def _mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)
