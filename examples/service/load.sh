#!/bin/sh
# Calls `render` over 16 connections, and counts the answers by their HTTP status.
# Usage: load.sh [URL [CALLS]]; with a token in TOKEN.
set -eu
url=${1:-http://127.0.0.1:7071}
calls=${2:-1000}
# The fragment is not sent; curl makes one request for each of its numbers.
curl --no-progress-meter --parallel --parallel-max 16 --output /dev/null --write-out '%{http_code}\n' \
    ${TOKEN:+--oauth2-bearer "$TOKEN"} --json '{"text": "# Load\n\n*One* of many."}' \
    "$url/v1/functions/render/call#[1-$calls]" | sort | uniq -c
