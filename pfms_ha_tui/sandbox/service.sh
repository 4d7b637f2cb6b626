#!/bin/bash
# Service control of one sandbox node: what systemd does for a real one, for this node's database server alone.
#
#   service.sh NODE_DIR systemctl VERB [OPTIONS] UNIT
#   service.sh NODE_DIR service UNIT VERB
#   service.sh NODE_DIR run                        the supervisor, started by "start"
#
# The node's bin/systemctl and bin/service call it, and so does the sandbox itself: there is one way to start a server.
# NODE_DIR/node.env sets LABEL, UNITS (the first is the main name), MYSQLD (array), LOG, RESTART_SEC (empty: never).
# State: main.pid (server process), ready (it accepts connections), result (how the last run ended), stop.request.
set -u
NODE_DIR=$1 FRONT=$2
shift 2
# Who starts a server from a shell of his own has no marker yet; without it the server would outlive the sandbox.
export PFMS_SANDBOX=${NODE_DIR%/*}
# shellcheck source=/dev/null
. "$NODE_DIR/node.env"
START_TIMEOUT=${START_TIMEOUT:-90} STOP_TIMEOUT=${STOP_TIMEOUT:-90}

alive() { # PID: exists, and is no zombie unless threads of it are still ending
  local line tasks
  [ -n "$1" ] && { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  line=${line##*) }
  [ "${line:0:1}" != Z ] && return 0
  tasks=("/proc/$1/task/"*)
  [ ${#tasks[@]} -gt 1 ]
}

read_pid() { # FILE
  local pid=
  { read -r pid <"$1"; } 2>/dev/null
  printf '%s' "$pid"
}

main_pid() {
  local pid
  pid=$(read_pid "$NODE_DIR/main.pid")
  alive "$pid" && printf '%s' "$pid"
}

active_state() {
  if [ -n "$(main_pid)" ]; then
    if [ -e "$NODE_DIR/stop.request" ]; then echo deactivating
    elif [ -e "$NODE_DIR/ready" ]; then echo active
    else echo activating; fi
  elif alive "$(read_pid "$NODE_DIR/supervisor.pid")" && [ ! -e "$NODE_DIR/result" ]; then echo activating
  else cat "$NODE_DIR/result" 2>/dev/null || echo inactive; fi
}

watch_ready() { # PID OFFSET: touches "ready" once the log says so
  while alive "$1"; do
    if tail -c "+$(($2 + 1))" "$LOG" | grep -q 'ready for connections'; then
      : >"$NODE_DIR/ready"
      return
    fi
    sleep 0.03
  done
}

run() {
  [ -e "$LOG" ] || : >"$LOG"
  local pid offset status options
  while :; do
    rm -f "$NODE_DIR/ready"
    options=()
    if [ -e "$NODE_DIR/next-boot.options" ]; then
      mapfile -t options <"$NODE_DIR/next-boot.options"
      rm -f "$NODE_DIR/next-boot.options"
    fi
    offset=$(stat -c %s "$LOG")
    # MySQL restarts itself (RESTART, CLONE) by leaving with 16, but only if it is told that somebody starts it again.
    MYSQLD_PARENT_PID=$$ "${MYSQLD[@]}" "${options[@]}" >>"$LOG" 2>&1 &
    pid=$!
    echo "$pid" >"$NODE_DIR/main.pid.new" && mv "$NODE_DIR/main.pid.new" "$NODE_DIR/main.pid"
    watch_ready "$pid" "$offset" &
    wait "$pid"
    status=$?
    rm -f "$NODE_DIR/ready" "$NODE_DIR/main.pid"
    echo "$status" >"$NODE_DIR/exit.status"
    if [ -e "$NODE_DIR/stop.request" ]; then
      echo inactive >"$NODE_DIR/result"
      return
    fi
    [ "$status" -eq 16 ] && continue
    if [ "$status" -ne 0 ] && [ -n "$RESTART_SEC" ]; then
      sleep "$RESTART_SEC"
      [ -e "$NODE_DIR/stop.request" ] || continue
    fi
    if [ "$status" -eq 0 ]; then echo inactive >"$NODE_DIR/result"; else echo failed >"$NODE_DIR/result"; fi
    return
  done
}

lock() {
  exec 9>"$NODE_DIR/service.lock"
  flock -w "$START_TIMEOUT" 9 || { echo "another job for this unit is still running" >&2; exit 1; }
}

start() {
  local deadline=$((SECONDS + START_TIMEOUT)) spawned=no
  until [ -e "$NODE_DIR/ready" ] && [ -n "$(main_pid)" ]; do
    # A supervisor that is still there is ending, or about to start the server again: never two of them.
    if ! alive "$(read_pid "$NODE_DIR/supervisor.pid")"; then
      if [ $spawned = yes ]; then deadline=$SECONDS; else spawn; spawned=yes; fi
    fi
    if [ $SECONDS -ge $deadline ]; then
      echo "Job for ${UNITS[0]}.service failed because the control process exited with error code." >&2
      echo "See $LOG for details." >&2
      return 1
    fi
    sleep 0.02
  done
}

spawn() {
  rm -f "$NODE_DIR/ready" "$NODE_DIR/result" "$NODE_DIR/stop.request" "$NODE_DIR/main.pid"
  setsid /bin/bash "$0" "$NODE_DIR" run 9>&- </dev/null >>"$NODE_DIR/supervisor.log" 2>&1 &
  echo $! >"$NODE_DIR/supervisor.pid"
}

stop() {
  : >"$NODE_DIR/stop.request"
  local deadline=$((SECONDS + STOP_TIMEOUT)) pid supervisor
  pid=$(main_pid) supervisor=$(read_pid "$NODE_DIR/supervisor.pid")
  # A stopped process must be let go to see its SIGTERM; systemd sends SIGCONT as well.
  [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null && kill -CONT "$pid" 2>/dev/null
  while alive "$pid" || { alive "$supervisor" && [ ! -e "$NODE_DIR/result" ]; }; do
    [ $SECONDS -ge $deadline ] && [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
    sleep 0.02
  done
  rm -f "$NODE_DIR/stop.request"
}

known_unit() { # UNIT
  local unit
  for unit in "${UNITS[@]}"; do [ "${1%.service}" = "$unit" ] && return 0; done
  return 1
}

property() { # NAME
  local active pid
  case $1 in
    Id) echo "${UNITS[0]}.service" ;;
    Names) echo "${UNITS[*]/%/.service}" ;;
    Description) echo "Database server of $LABEL" ;;
    LoadState) echo loaded ;;
    UnitFileState) echo enabled ;;
    ActiveState) active_state ;;
    SubState)
      active=$(active_state)
      case $active in
        active) echo running ;; activating) echo start ;; deactivating) echo stop-sigterm ;;
        failed) echo failed ;; *) echo dead ;;
      esac ;;
    MainPID) pid=$(main_pid); echo "${pid:-0}" ;;
    ExecMainStatus) cat "$NODE_DIR/exit.status" 2>/dev/null || echo 0 ;;
    Type) echo notify ;;
    *) return 1 ;;
  esac
}

show() { # UNIT VALUE_ONLY PROPERTY…
  local unit=$1 bare=$2 name value
  shift 2
  [ $# -gt 0 ] || set -- Type MainPID ExecMainStatus Id Names Description LoadState ActiveState SubState UnitFileState
  for name; do
    if known_unit "$unit"; then
      value=$(property "$name") || continue
    else
      case $name in
        Id | Names) value=${unit%.service}.service ;; LoadState) value=not-found ;; ActiveState) value=inactive ;;
        SubState) value=dead ;; MainPID | ExecMainStatus) value=0 ;; *) continue ;;
      esac
    fi
    if [ "$bare" = yes ]; then echo "$value"; else echo "$name=$value"; fi
  done
}

status() {
  local active pid
  active=$(active_state) pid=$(main_pid)
  echo "● ${UNITS[0]}.service - Database server of $LABEL"
  echo "     Loaded: loaded (${UNITS[0]}.service; enabled)"
  echo "     Active: $active ($(property SubState))"
  [ -n "$pid" ] && echo "   Main PID: $pid ($(cat "/proc/$pid/comm" 2>/dev/null))"
  [ "$active" = active ] || return 3
}

systemctl() {
  local verb='' signal=TERM bare=no quiet=no properties=() units=()
  while [ $# -gt 0 ]; do
    case $1 in
      -p) IFS=, read -ra more <<<"${2-}"; properties+=("${more[@]}"); shift ;;
      --property=*) IFS=, read -ra more <<<"${1#*=}"; properties+=("${more[@]}") ;;
      -s) signal=${2-}; shift ;;
      --signal=*) signal=${1#*=} ;;
      --value) bare=yes ;;
      -q | --quiet) quiet=yes ;;
      -*) ;;
      *) if [ -z "$verb" ]; then verb=$1; else units+=("$1"); fi ;;
    esac
    shift
  done
  [ "$verb" = daemon-reload ] && return 0
  local unit=${units[0]-}
  [ -n "$unit" ] || { echo "Too few arguments." >&2; return 1; }
  if [ "$verb" = show ]; then show "$unit" "$bare" "${properties[@]}"; return 0; fi
  if ! known_unit "$unit"; then
    case $verb in
      is-active) [ $quiet = yes ] || echo inactive; return 4 ;;
      status) echo "Unit ${unit%.service}.service could not be found." >&2; return 4 ;;
      *) echo "Failed to $verb ${unit%.service}.service: Unit ${unit%.service}.service not found." >&2; return 5 ;;
    esac
  fi
  local active pid
  case $verb in
    start) lock; start ;;
    stop) lock; stop ;;
    restart) lock; stop && start ;;
    status) status ;;
    is-active)
      active=$(active_state)
      [ $quiet = yes ] || echo "$active"
      [ "$active" = active ] || return 3 ;;
    is-failed)
      active=$(active_state)
      [ $quiet = yes ] || echo "$active"
      [ "$active" = failed ] ;;
    is-enabled) [ $quiet = yes ] || echo enabled ;;
    kill)
      pid=$(main_pid)
      [ -n "$pid" ] || { echo "Failed to kill unit ${units[0]}: No main process to kill" >&2; return 1; }
      kill -s "${signal#SIG}" "$pid" ;;
    enable | disable | reset-failed) ;;
    *) echo "Unknown command verb $verb." >&2; return 1 ;;
  esac
}

case $FRONT in
  run) run ;;
  systemctl) systemctl "$@" ;;
  service) systemctl "${2-status}" "${1-}" ;;
  *) echo "unknown front end $FRONT" >&2; exit 2 ;;
esac
