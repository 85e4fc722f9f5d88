"""Cases: public reports about real kernels, of which the notebooks in cases/ show, ask and step."""

from thplab.learn.cases.case import Case
from thplab.learn.cases.series import CASES, case

__all__ = ["CASES", "Case", "case"]
