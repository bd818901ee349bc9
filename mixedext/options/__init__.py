"""Options: checks of their values, open sets, what is said of keywords that a function does not have."""

from mixedext.options.checks import (
    check_alpha,
    check_count,
    check_cov_kwds,
    check_cov_type,
    check_flag,
    check_generator,
    check_jobs,
    check_level,
    check_memory,
    check_missing,
    check_nodes,
    check_option,
    check_probe_error,
    check_seed,
    check_start,
    check_tolerance,
    complement,
    earlier_name,
)
from mixedext.options.keywords import (
    answers_keywords,
    methods_answer_keywords,
    refuse_unknown,
    unknown_keyword,
)
from mixedext.options.members import asking, numbers_of, ships_with_package
from mixedext.options.registry import FunctionRegistry, Registry
from mixedext.options.words import nearest, shown

__all__ = [
    "FunctionRegistry",
    "Registry",
    "answers_keywords",
    "asking",
    "check_alpha",
    "check_count",
    "check_cov_kwds",
    "check_cov_type",
    "check_flag",
    "check_generator",
    "check_jobs",
    "check_level",
    "check_memory",
    "check_missing",
    "check_nodes",
    "check_option",
    "check_probe_error",
    "check_seed",
    "check_start",
    "check_tolerance",
    "complement",
    "earlier_name",
    "methods_answer_keywords",
    "nearest",
    "numbers_of",
    "refuse_unknown",
    "ships_with_package",
    "shown",
    "unknown_keyword",
]
