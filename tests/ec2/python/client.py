"""boto3 as a client for tests: calls come as lines of JSON at standard input, what they gave goes to standard output.

{"call": "create_volume", "args": {...}} gives {"ok": {...}} or {"error": CODE, "status": 400, "message": ...}; the error is
the exception's name if there was no answer. {"parallel": [CALLS], "threads": N} gives a list of those.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore.exceptions
from botocore.config import Config


def main():
    options = json.loads(sys.argv[1])
    service = options.pop("service", "ec2")
    # One attempt each: tests see what one request gets.
    timeout = options.pop("timeout", 60)
    config = Config(
        retries={"total_max_attempts": 1},
        read_timeout=timeout,
        max_pool_connections=600,
        parameter_validation=options.pop("validate", True),
    )
    client = boto3.client(service, config=config, **options)

    def call(request):
        try:
            got = getattr(client, request["call"])(**request.get("args", {}))
            got.pop("ResponseMetadata", None)
            return {"ok": got}
        except botocore.exceptions.ClientError as error:
            found = error.response
            status = found["ResponseMetadata"]["HTTPStatusCode"]
            return {"error": found["Error"]["Code"], "status": status, "message": found["Error"].get("Message", "")}
        except Exception as error:
            return {"error": type(error).__name__, "status": 0, "message": str(error)}

    for line in sys.stdin:
        request = json.loads(line)
        if "parallel" in request:
            with ThreadPoolExecutor(request.get("threads", 50)) as pool:
                answer = list(pool.map(call, request["parallel"]))
        else:
            answer = call(request)
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
