# SPDX-License-Identifier: GPL-2.0-or-later
# Bytes of no meaning, and between them a scenario that passes.
printf '\000\377\033[2J\r\nok\nnot ok\nBail out!\n'
head -c 3000 /dev/zero | tr '\000' '#'
printf '\n# farmer\n#farm 1 2 3\n'
echo '# farm begin {"case": "endings.noise", "uptime_ms": 1}'
echo '    ok 1 endings.noise'
