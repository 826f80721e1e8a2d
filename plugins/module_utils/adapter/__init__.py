# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that knows Ansible and amazon.aws: a module under a stop, arguments, clients."""
