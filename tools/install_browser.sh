#!/bin/sh
# A Chromium for `make test-browser`: Debian's and Ubuntu's package, unless a browser of its family is there.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    exec apt-get install -y -qq --no-install-recommends chromium
fi
echo "error: found no Chromium; install one (Debian: sudo apt-get install chromium), then run make test-browser again" >&2
exit 1
