"""Checks of schemathesis in addition to its own."""

import schemathesis
from schemathesis import GenerationMode

schemathesis.serializer.alias("application/vnd.postcard", "application/octet-stream")


@schemathesis.check
def described_arguments_are_accepted(ctx, response, case):
    """Arguments that have the described types are passed to the function."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    # A problem with the number of a call was found by the function itself.
    problem = response.json() if response.status_code == 422 else {"code": "none"}
    if problem["code"] == "bad_arguments" and "wpc_call_id" not in problem:
        raise AssertionError(problem["detail"])
