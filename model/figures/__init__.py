"""Figures as SVG files. Matplotlib is loaded by the first one that is drawn, not before."""

import logging

# Where the home cannot be written, it makes a temporary folder for its list of fonts. That is
# what should happen, and not worth the warnings that it logs while it is loaded.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
