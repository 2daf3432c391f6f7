# shellcheck shell=sh
# Sourced by scripts in the tree's root: gives buildah and podman a store of the tree's own under build/container; the
# user's is not touched. Images stay in it, so that what has not changed is not built again; `make clean` removes it.
container_folder=$PWD/build/container
mkdir -p "$container_folder/tmp"

# One script at a time: cleaning up takes every container of the store. The lock is not for its children to keep.
if [ -z "${LATENTD_STORE_LOCKED:-}" ]; then
  LATENTD_STORE_LOCKED=1 exec flock --close "$container_folder/lock" "scripts/$(basename "$0")" "$@"
fi

# runc works on version 1, hybrid and version 2 control groups. Limits are stated because the defaults exceed what a
# container's own root may grant.
cat >"$container_folder/containers.conf" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$container_folder/run/libpod"
END
cat >"$container_folder/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$container_folder/store"
runroot = "$container_folder/run"
END
export CONTAINERS_CONF="$container_folder/containers.conf"
export CONTAINERS_STORAGE_CONF="$container_folder/storage.conf"
export DISABLE_HC_SYSTEMD=true  # no timers: the test asks for the health itself
export TMPDIR="$container_folder/tmp"
