"""numpy, loaded after llama.cpp.

A llama.cpp whose CUDA part brings its own libstdc++ (nvcc may link it in) ends the process at the first number it
prints if numpy has loaded the system's before it; the other way round both work. So the modules that need both take
numpy from here.
"""

# isort: off
from runtime import llama_library as _first  # noqa: F401

import numpy as np
import numpy.typing as npt
# isort: on

__all__ = ["np", "npt"]
