"""Running INT8 QDQ graphs in integers, and a reference in numpy to hold any way of running them against."""
