"""One conversion: its context, its samples, its stages from the cache or made, judged and published."""

from n6convert.lazy import first_use

__getattr__ = first_use("n6convert.pipeline", dict.fromkeys(("STAGES", "execute", "run_stages"), "runner"))
