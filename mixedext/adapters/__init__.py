"""Doors to other programs: the command line, results in other forms, earlier import paths.

An adapter is a function of a fitted model: `register` lets `mixedext.adapt` find it by name.

Examples
--------
>>> import mixedext as mx
>>> list(mx.adapters.ADAPTERS)
['plain', 'maketables', 'marginaleffects']
"""

from mixedext.adapters.registry import ADAPTERS, adapt

register, unregister = ADAPTERS.register, ADAPTERS.unregister

__all__ = ["ADAPTERS", "adapt", "register", "unregister"]
