# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that knows Ansible and amazon.aws.

    run         a module: its argument spec, one flow, and the result or failure that the flow ends with
    arguments   what the specs of several modules share
    clients     boto3 clients as a module's arguments want them

    module = AnsibleAWSModule(spec)
    with on_signals() as stop, ticker(when_output_closes):
        result = flow(Job(module.params, ...))
    module.exit_json(**result)

A flow's error becomes a failure with its kind and facts. One that is none of ours is raised, with a trace: it is a bug.

Not promised: that a client reaches anything. It is made without a request, and nothing is tried again: that is the caller's part.
"""
