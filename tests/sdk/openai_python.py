"""openai (PyPI) against two instances behind a dumb proxy: see tests/it/sdk.rs.

Every case is a function of `openai_cases`; the process ends with an error at the first that fails. `tell` asks the
test that runs it to kill the instance that owns a generation, and waits until that is done.
"""

from openai_cases import chat, failures, responses, sockets

for cases in (responses, sockets, chat, failures):
    for case in cases.CASES:
        case()
        print("ok", case.__name__, flush=True)
