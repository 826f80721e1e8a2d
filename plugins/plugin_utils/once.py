# Copyright: the coldstore.ebs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to this collection: the action plugin of every module, so that its failures are said once."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action.normal import ActionModule as Normal


class _Failed(AnsibleActionFail):
    """ansible-core 2.19 and later print what is raised, unless told not to, and then the result, where the message is again."""

    @property
    def omit_exception_key(self):
        return True

    @property
    def result_contribution(self):
        return self._result


class ActionModule(Normal):
    """Runs the module, as without an action plugin of its own.

    Under the role queue a host that cannot be reached has failed with kind 'unreachable': Ansible would drop it without a
    rescue, and end the playbook, with no report, when it has dropped all.
    """

    def run(self, tmp=None, task_vars=None):
        try:
            result = super().run(tmp, task_vars)
        except AnsibleConnectionFailure as error:
            if not (task_vars or {}).get("queue_unreachable_fails"):
                raise
            result = {"failed": True, "kind": "unreachable", "msg": f"the worker cannot be reached: {error}"}
        if result.get("failed") and "kind" in result:  # its message is ours, one sentence for people, and needs no trace
            exception = result.pop("exception", None)
            judged = self._task.until or self._task.retries or self._task.failed_when  # by the role, which a raise would forestall
            if exception is not None and not isinstance(exception, str) and not judged:
                raise _Failed(result["msg"], result=result)
        return result
