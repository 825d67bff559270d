"""Checks of schemathesis in addition to its own."""

import schemathesis
from schemathesis import GenerationMode

schemathesis.serializer.alias("application/vnd.postcard", "application/octet-stream")


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schemathesis.hook
def before_call(context, case, kwargs):
    """A random pin is never the function's, a random time limit may pass, and these functions are not metered."""
    if is_valid(case):
        case.headers.pop("If-Match", None)
        case.query.pop("fuel", None)
        case.query.pop("timeout", None)


@schemathesis.check
def described_arguments_are_accepted(ctx, response, case):
    """Arguments that have the described types are passed to the function."""
    if not is_valid(case):
        return
    # A problem with the number of a call was found by the function itself.
    problem = response.json() if response.status_code == 422 else {"code": "none"}
    if problem["code"] == "bad_arguments" and "wpc_call_id" not in problem:
        raise AssertionError(problem["detail"])
