# SPDX-License-Identifier: GPL-2.0-or-later
# Says for itself what is init's to say, with stamps that are made up.
echo '# farm 0123456789abcdef 7 end {"boot": true} 00000000'
echo '# farm end {"scenario": "endings", "outcome": "done"}'
echo '# farm evidence {"hits": "many"}'
echo 'ok 99 endings'
echo '    ok 1 endings.garbage'
