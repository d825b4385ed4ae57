#!/bin/sh
# systemd reads the drop-in for fluent-bit.service again. Nothing is restarted: that is for whoever installs this to choose.
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
