"""Colours and symbols that stay apart for colour-blind readers, on a light page and on a dark one."""

# Okabe and Ito 2008, without the yellow and the black: they vanish on a white or a dark page.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
MODEL_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MODEL_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
GREY = "#888888"
