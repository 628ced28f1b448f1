"""Every merge method that works tensor by tensor, by its name in the configuration."""

from gtr_core.merge.breadcrumbs import breadcrumbs
from gtr_core.merge.dare import dare_linear, dare_ties
from gtr_core.merge.della import della
from gtr_core.merge.linear import linear
from gtr_core.merge.method import Method
from gtr_core.merge.model_stock import model_stock
from gtr_core.merge.slerp import slerp
from gtr_core.merge.task_arithmetic import task_arithmetic
from gtr_core.merge.ties import ties

METHODS: dict[str, Method] = {
    "ties": ties,
    "linear": linear,
    "slerp": slerp,
    "task_arithmetic": task_arithmetic,
    "dare_linear": dare_linear,
    "dare_ties": dare_ties,
    "breadcrumbs": breadcrumbs,
    "della": della,
    "model_stock": model_stock,
}
