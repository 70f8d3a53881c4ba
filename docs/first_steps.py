# %% [markdown]
# # First steps, in a notebook
#
# Made by `make notebook` from `docs/first_steps.py`; needs `pip install n6convert n6convert-movenet`, no files and no
# network. Weights are *seeded*: the exact architecture with random numbers, which is enough for placement, memory and
# time. With `weights="pretrained"` and images of your own the same lines give accuracy, too.

# %%
import n6convert

result = n6convert.convert(
    "movenet", weights="seeded", imgsz=192, calibration={"samples": 8, "held_back": 4}, output="build/movenet"
)
result

# %% [markdown]
# The cell shows the cards and the ribbons of `report.html`: every block is an epoch, as wide as its predicted time. The
# same in words, and as numbers for an experiment tracker (`mlflow.log_metrics(result.report.metrics())`, and
# `mlflow.log_dict(result.to_dict(), "report.json")` for all of it):

# %%
print(result.summary())

# %%
result.report.metrics()

# %% [markdown]
# ## Another compiler version
#
# `estimate` predicts for any quantized model and target, without converting anything.

# %%
older = n6convert.estimate(result.model_path, target="stm32n6570-dk@2.1")
older

# %% [markdown]
# ## Which input size?
#
# A sweep converts every combination of its axes, each in a process of its own, and goes on where it was stopped.

# %%
from pathlib import Path

sizes = n6convert.sweep(
    "movenet",
    {"options.imgsz": [128, 192]},
    Path("build/sizes"),
    common={"weights": "seeded", "calibration": {"samples": 4, "held_back": 2}},
    workers=1,
)
sizes

# %%
sizes.best(max_milliseconds=10)

# %% [markdown]
# Every error is one exception with the place, the limit, what was found and the remedy as fields.

# %%
try:
    n6convert.convert("movenett")
except n6convert.N6ConvertError as error:
    print(error)
