"""The loader that stored `MLmodel` files name; it lives in `tasks.tracking.pyfunc`."""

from tasks.tracking.pyfunc import _load_pyfunc  # noqa: F401 - MLflow calls it
