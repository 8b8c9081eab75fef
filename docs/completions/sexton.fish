# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sexton_global_optspecs
    string join \n i/interface= p/port= b/sidebind= s/socket-activation= S/stdout= E/stderr= L/stdlog= on-full= status-format= v/verbose log-format= debug-journal= h/help V/version
end

function __fish_sexton_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sexton_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sexton_using_subcommand
    set -l cmd (__fish_sexton_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sexton -n "__fish_sexton_needs_command" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_needs_command" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_needs_command" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_needs_command" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_needs_command" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_needs_command" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_needs_command" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_needs_command" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_needs_command" -s V -l version -d 'Print version'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "run" -d 'Run a process once, and exit with its exit code'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "r" -d 'Run a process once, and exit with its exit code'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "supervise" -d 'Run a process and restart it whenever it exits, with a back-off delay'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "s" -d 'Run a process and restart it whenever it exits, with a back-off delay'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "watch" -d 'Expose the state of processes that were started by others'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "w" -d 'Expose the state of processes that were started by others'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "up" -d 'Run many processes from one file: start order, probes, restarts, hooks, logs'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "check" -d 'Check a file for `up` and print the resulting plan'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "schema" -d 'Print the JSON Schema of sexton.yaml, for editors'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "lock" -d 'Serve, hold and list distributed locks'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "status" -d 'Show the processes of a running `up`'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "logs" -d 'Show the output of processes'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "events" -d 'Show past events'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "why" -d 'Show the events that led to a process\'s current state'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "start" -d 'Start processes and wait until they have started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "stop" -d 'Stop processes and wait until they have exited; they stay stopped until they are started again'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "restart" -d 'Restart processes and wait until they have started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "signal" -d 'Send a signal to processes'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "reload" -d 'Reload the configuration and apply what has changed; an invalid file changes nothing'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "end" -d 'Shut down sexton and all processes, as SIGTERM does'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "wait" -d 'Wait until all processes are healthy'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "names" -d 'Print the names of the processes, for shell completion'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "automaton" -d 'Run shell scripts by a state machine that is driven over a unix socket'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "ensemble" -d 'Run a pod of an ensemble: members report, masters keep an ordered list, the leader runs a callback'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "graves" -d 'List the tombstones of a graveyard: the state of the containers of a pod'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "install" -d 'Create links to this executable under the names of the tools that it replaces'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "debug" -d 'Debug sexton itself'
complete -c sexton -n "__fish_sexton_using_subcommand run" -s w -l wait -d 'Keep the HTTP server running this long after the process has exited [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l name -d 'Name of the process in logs and metrics [default: file name of the command]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s t -l ttl -d 'Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l grace-period -d 'Time between the stop signal and SIGKILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l stop-signal -d 'Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l kill-mode -d 'Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes that it left behind; group: its whole process group at once [default: main]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard -d 'Directory shared by the containers; sexton writes a tombstone there, named after the process (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard-mode -d 'Mode of that directory if sexton creates it, in octal [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard-poll -d 'Also poll the graveyard at this interval, for file systems without change notification [default: 1s on network file systems, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l death-dep -l death-deps -d 'Exit when any of these has exited: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l birth-timeout -d 'Time to wait for each of them before exiting with code 1; 0: no limit [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l rebirth-timeout -d 'How long to wait for a stopped container to restart before its earlier exit counts again [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l exit-codes -d 'Map exit codes to others; caused is any exit that was requested: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l pod-name -d 'Query the Kubernetes API for the containers of this pod: birth dependencies may name any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l namespace -d 'Namespace of the pod [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l wait-for -d 'Start when these servers are ready (GET returns 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l quit -d 'Shut down these servers (POST) after the process has exited: URLs, or istio, envoy, linkerd, cloud-sql-proxy; a trailing ! makes a failure an error' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l quit-when -d 'Shut them down always, or only on exit code 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand run" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand r" -s w -l wait -d 'Keep the HTTP server running this long after the process has exited [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l name -d 'Name of the process in logs and metrics [default: file name of the command]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s t -l ttl -d 'Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l grace-period -d 'Time between the stop signal and SIGKILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l stop-signal -d 'Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l kill-mode -d 'Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes that it left behind; group: its whole process group at once [default: main]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard -d 'Directory shared by the containers; sexton writes a tombstone there, named after the process (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard-mode -d 'Mode of that directory if sexton creates it, in octal [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard-poll -d 'Also poll the graveyard at this interval, for file systems without change notification [default: 1s on network file systems, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l death-dep -l death-deps -d 'Exit when any of these has exited: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l birth-timeout -d 'Time to wait for each of them before exiting with code 1; 0: no limit [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l rebirth-timeout -d 'How long to wait for a stopped container to restart before its earlier exit counts again [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l exit-codes -d 'Map exit codes to others; caused is any exit that was requested: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l pod-name -d 'Query the Kubernetes API for the containers of this pod: birth dependencies may name any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l namespace -d 'Namespace of the pod [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l wait-for -d 'Start when these servers are ready (GET returns 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l quit -d 'Shut down these servers (POST) after the process has exited: URLs, or istio, envoy, linkerd, cloud-sql-proxy; a trailing ! makes a failure an error' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l quit-when -d 'Shut them down always, or only on exit code 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand r" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s w -l wait -d 'Fixed delay before a restart, instead of --backoff' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l backoff -d 'Shortest and longest back-off delay before a restart; it doubles with every restart, +/- 20% at random [default: 5s..5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l backoff-reset -d 'Reset the back-off delay after a run of this length [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l max-restarts -d 'Give up after more than this many restarts within --restart-window, 0 to 100000 [default: unlimited]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l restart-window -d 'Time window of --max-restarts [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l name -d 'Name of the process in logs and metrics [default: file name of the command]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s t -l ttl -d 'Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l grace-period -d 'Time between the stop signal and SIGKILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l stop-signal -d 'Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l kill-mode -d 'Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes that it left behind; group: its whole process group at once [default: main]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard -d 'Directory shared by the containers; sexton writes a tombstone there, named after the process (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard-mode -d 'Mode of that directory if sexton creates it, in octal [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard-poll -d 'Also poll the graveyard at this interval, for file systems without change notification [default: 1s on network file systems, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l death-dep -l death-deps -d 'Exit when any of these has exited: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l birth-timeout -d 'Time to wait for each of them before exiting with code 1; 0: no limit [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l rebirth-timeout -d 'How long to wait for a stopped container to restart before its earlier exit counts again [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l exit-codes -d 'Map exit codes to others; caused is any exit that was requested: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l pod-name -d 'Query the Kubernetes API for the containers of this pod: birth dependencies may name any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l namespace -d 'Namespace of the pod [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l wait-for -d 'Start when these servers are ready (GET returns 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l quit -d 'Shut down these servers (POST) after the process has exited: URLs, or istio, envoy, linkerd, cloud-sql-proxy; a trailing ! makes a failure an error' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l quit-when -d 'Shut them down always, or only on exit code 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand s" -s w -l wait -d 'Fixed delay before a restart, instead of --backoff' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l backoff -d 'Shortest and longest back-off delay before a restart; it doubles with every restart, +/- 20% at random [default: 5s..5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l backoff-reset -d 'Reset the back-off delay after a run of this length [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l max-restarts -d 'Give up after more than this many restarts within --restart-window, 0 to 100000 [default: unlimited]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l restart-window -d 'Time window of --max-restarts [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l name -d 'Name of the process in logs and metrics [default: file name of the command]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s t -l ttl -d 'Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l grace-period -d 'Time between the stop signal and SIGKILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l stop-signal -d 'Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l kill-mode -d 'Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes that it left behind; group: its whole process group at once [default: main]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard -d 'Directory shared by the containers; sexton writes a tombstone there, named after the process (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard-mode -d 'Mode of that directory if sexton creates it, in octal [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard-poll -d 'Also poll the graveyard at this interval, for file systems without change notification [default: 1s on network file systems, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l death-dep -l death-deps -d 'Exit when any of these has exited: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l birth-timeout -d 'Time to wait for each of them before exiting with code 1; 0: no limit [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l rebirth-timeout -d 'How long to wait for a stopped container to restart before its earlier exit counts again [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l exit-codes -d 'Map exit codes to others; caused is any exit that was requested: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l pod-name -d 'Query the Kubernetes API for the containers of this pod: birth dependencies may name any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l namespace -d 'Namespace of the pod [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l wait-for -d 'Start when these servers are ready (GET returns 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l quit -d 'Shut down these servers (POST) after the process has exited: URLs, or istio, envoy, linkerd, cloud-sql-proxy; a trailing ! makes a failure an error' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l quit-when -d 'Shut them down always, or only on exit code 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand s" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s p -l pid -d 'Watch only the process with this ID' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s w -l wait -d 'Interval between scans of the process list [default: 5s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand w" -s p -l pid -d 'Watch only the process with this ID' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s w -l wait -d 'Interval between scans of the process list [default: 5s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand w" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand up" -l control -d 'Path of the control socket, or \'none\' [default: /run/sexton.sock; if not root, sexton.sock in $XDG_RUNTIME_DIR or $HOME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l readiness-file -d 'File that exists while all processes are healthy' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l readiness-file-sticky -d 'Keep the readiness file when a process becomes unhealthy; it is still removed at shutdown [default: false]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l exit-from -d 'Process whose exit shuts everything down, and whose exit code becomes that of sexton' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l shutdown-deadline -d 'Time limit of the shutdown of all processes [default: terminationGracePeriodSeconds of the file, minus 5s for the reader of the output, or minus half of it if it is shorter than 10s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand check" -l json -d 'Print JSON'
complete -c sexton -n "__fish_sexton_using_subcommand check" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand schema" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "serve" -d 'Serve locks over HTTP, stored in a local file or in etcd'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "hold" -d 'Run a command only while holding a lock: wait for it, and stop the command before another holder can acquire it'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "list" -d 'List the locks that are held, and their holders'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "guard" -d 'Guard the runs of another sexton process'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l store -d 'Store everything in this file [default: in /var/lib/sexton, or in ~/.local/state/sexton if not root]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd -d 'Store everything in etcd: its nodes, separated by commas, each HOST, HOST:PORT or a URL' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-ca -d 'CA bundle for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-cert -d 'Client certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-key -d 'Key of the client certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-user -d 'etcd user name' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-password-file -d 'File with the password of the etcd user' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l lock-ttl -d 'Time after which the lock expires without renewal [default: 2s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l url -d 'URL of the lock server [default: http://localhost:8191]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l name -d 'Name of the process in logs and metrics [default: file name of the command]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s t -l ttl -d 'Stop the process after this time; a range such as 10s..40s draws a random time at each start; 0: never [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l grace-period -d 'Time between the stop signal and SIGKILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l stop-signal -d 'Signal used to stop the process, and sent when sexton receives SIGTERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l kill-mode -d 'Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes that it left behind; group: its whole process group at once [default: main]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s b -l sidebind -d 'Also listen on the next free port above --port, and log it' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s s -l socket-activation -d 'Use the listening socket passed by the service manager (LISTEN_FDS); ignores --port and --interface' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s S -l stdout -d 'Forward the standard output of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s E -l stderr -d 'Forward the standard error of the process [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s L -l stdlog -d 'Forward the output of the process as log records with timestamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l on-full -d 'What happens to output that is written faster than it is read, if it is forwarded as log records; block: the process waits in its writes, and nothing is lost; drop: lines are dropped and counted [default: block]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l status-format -d 'Format of the response of /: one object, or a list with one object [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l debug-journal -d 'Append every event to this file as one line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -l url -d 'URL of the lock server [default: http://localhost:8191]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from guard" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand status" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand status" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand status" -s w -l watch -d 'Refresh every second'
complete -c sexton -n "__fish_sexton_using_subcommand status" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s n -l tail -d 'Number of earlier lines to show' -r
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s o -l output -d 'Output format [default: pretty on a terminal, else the records as they are in the output of sexton]' -r -f -a "logfmt\t''
json\t''
raw\t''
pretty\t''"
complete -c sexton -n "__fish_sexton_using_subcommand logs" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s f -l follow -d 'Follow new output'
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand events" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand events" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand events" -s f -l follow -d 'Follow new events'
complete -c sexton -n "__fish_sexton_using_subcommand events" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand why" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand why" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand why" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand start" -s t -l timeout -d 'Time limit [default: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand start" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand start" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand start" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s t -l timeout -d 'Time limit [default: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand stop" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s t -l timeout -d 'Time limit [default: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand restart" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand signal" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand signal" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand signal" -l group -d 'Send it to the whole process groups, whatever the kill mode is'
complete -c sexton -n "__fish_sexton_using_subcommand signal" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand reload" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand reload" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand reload" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand end" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand end" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand end" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s t -l timeout -d 'Time limit [default: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand wait" -l readiness-file -d 'Wait until this file exists, instead of connecting to the control socket' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand wait" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand names" -l control -d 'Control socket path' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand names" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand names" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s s -l socket -d 'Control socket path [default: the file\'s, else /var/run/automaton.sock]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l socket-mode -d 'Socket file mode, in octal [default: the file\'s, else 600]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s l -l log -d 'Log file, rotated at 64 KiB (three old files are kept) [default: standard error]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l section -d 'Path of the section in the file, with / between keys' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s d -l debug -d 'Log the output of the scripts'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l check -d 'Check the file and exit'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l dot -d 'Print the state machine as a Graphviz graph and exit'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -a "ctl" -d 'Send a request to a running automaton and print the response: STATE, GOTO TAG, WAIT TAG (a payload may follow), SET KEY VALUE, DIE, HISTORY, WATCH'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and __fish_seen_subcommand_from ctl" -s s -l socket -d 'Control socket path [default: /var/run/automaton.sock]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and __fish_seen_subcommand_from ctl" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l role -d 'Role of this pod: it reports to masters, keeps the member list, or both' -r -f -a "member\t'Reports to masters'
master\t'Keeps the member list'
both\t'Member and master'"
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l app -d 'Name of the ensemble [default: the pod\'s label app]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l namespace -d 'Namespace of the ensemble [default: the pod\'s namespace, or default]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l id -d 'Name of this pod, unique in the ensemble [default: host name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l ip -d 'IP address of this pod [default: source address of connections to its first master]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l host -d 'IP address of the node' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l node -d 'Name of the node [default: $NODE_NAME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l labels -d 'Labels of the pod (on the command line: JSON)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l annotations -d 'Annotations of the pod (on the command line: JSON); sexton.dev/masters lists its masters' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l pod-info -d 'Directory with files of the downward API: labels, annotations, name, namespace' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l cloud -d 'Query the metadata service of this cloud for the name of the node, if it is not known otherwise: auto, aws, gcp or azure' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l label-role -d 'Role of this pod as callbacks see it [default: the pod\'s label role, or member]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l masters -d 'Masters to which a member reports: HOST or HOST:PORT, with https://, zerorpc:// or zerorpcs:// for another protocol; separated by commas' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l report-app -d 'Report the digest and the size of this ensemble to the masters of another one, of this name' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l payload -d 'JSON file that a member reports; changes are reported immediately. In a file for `up`: \'status\' reports the state of its processes' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l payload-of -d 'Report the state of the processes of the `up` with this control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l member-ttl -d 'Remove a member that sends no keepalive for this long; keepalives are sent every 3/4 of it [default: 25s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l fail-over -d 'Time after which a dead leader is replaced [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l damper -d 'Delay between the last membership change and the callback [default: 10s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l callback -d 'Command that the leader runs after a membership change, split at blanks' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l shell-callback -d 'Shell script that the leader runs after a membership change (sh -c)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l leads -d 'Campaign for leadership also without a callback, for processes that know this key' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l callback-deadline -d 'Time limit of a callback, after which it is killed [default: 5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l token-file -d 'File with the token required to run commands remotely; without it and --tls-ca, remote commands are disabled' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l invoke-user -d 'Run remote commands as this user: USER or USER:GROUP, by name or number [default: user of sexton]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l tls-cert -d 'Certificate (PEM); with it, the port accepts TLS only' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l tls-key -d 'Key of the certificate (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l tls-ca -d 'CA bundle (PEM) for the certificates of masters and clients; a client with such a certificate may run commands [default: system CAs, no client certificates]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l statsd -d 'Address of the statsd server for counters, or \'none\' [default: 127.0.0.1:8125]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -s i -l interface -d 'IP address of the HTTP server [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -s p -l port -d 'Port of the HTTP server; 0 for any free port, \'none\' for no server [default: 6666; ensemble: 8000; lock serve: 8191; lock hold: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l log-format -d 'Format of sexton\'s log; auto: text on a terminal, otherwise logfmt [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l store -d 'Store everything in this file [default: in /var/lib/sexton, or in ~/.local/state/sexton if not root]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd -d 'Store everything in etcd: its nodes, separated by commas, each HOST, HOST:PORT or a URL' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd-ca -d 'CA bundle for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd-cert -d 'Client certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd-key -d 'Key of the client certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd-user -d 'etcd user name' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l etcd-password-file -d 'File with the password of the etcd user' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l from-kubernetes -d 'Query the Kubernetes API for labels, annotations, addresses and the node where they are not given'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l allow-unauthenticated-invoke -d 'Allow remote command execution without authentication (dangerous)'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -l authenticated-keepalives -d 'Require the token or a client certificate for keepalives too, and present it with those sent'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -s v -l verbose -d 'Increase log verbosity (-v info, -vv debug); `up`, `automaton`, `ensemble` and `lock serve` log at info by default'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "status" -d 'Show the state of a master: whether it leads, the digest, the last callback, the members'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "events" -d 'Show past events, one JSON object a line'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "pods" -d 'Show the members that are up, in their order'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "leader" -d 'Show whether the master leads, and its fencing token'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "digest" -d 'Show the digest of the member list'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "state" -d 'Show the output of the last callback'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "callbacks" -d 'Show the last runs of the callback'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "invoke" -d 'Run a shell command on a pod and print its output'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "render" -d 'Render a Jinja template with what is known of this pod, its node and the members'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks invoke render run-plan" -f -a "run-plan" -d 'Run the plan in $SEXTON_ENSEMBLE_PLAN, as `up` resolved it'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -s f -l follow -d 'Follow new events'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l token-file -d 'File with the token that the pod requires' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l pod -d 'Pod to query: HOST or HOST:PORT, with http:// (the default), https://, zerorpc:// or zerorpcs://' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-ca -d 'CA bundle (PEM) for the certificate of the pod [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-cert -d 'Client certificate (PEM), if the pod requires one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-key -d 'Key of the client certificate (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l namespace -d 'Namespace of the ensemble [default: the pod\'s namespace, or default]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l id -d 'Name of this pod, unique in the ensemble [default: host name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l ip -d 'IP address of this pod [default: source address of connections to its first master]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l host -d 'IP address of the node' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l node -d 'Name of the node [default: $NODE_NAME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l labels -d 'Labels of the pod (on the command line: JSON)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l annotations -d 'Annotations of the pod (on the command line: JSON); sexton.dev/masters lists its masters' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l pod-info -d 'Directory with files of the downward API: labels, annotations, name, namespace' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l cloud -d 'Query the metadata service of this cloud for the name of the node, if it is not known otherwise: auto, aws, gcp or azure' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l pod -d 'Master to query for the members: HOST or HOST:PORT [default: no members]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l tls-ca -d 'CA bundle (PEM) for the certificate of the master [default: system CAs]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -s o -l output -d 'Output file [default: standard output]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l from-kubernetes -d 'Query the Kubernetes API for labels, annotations, addresses and the node where they are not given'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from run-plan" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand graves" -s o -l output -d 'Output format' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand graves" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand install" -l copy -d 'Also copy this executable there, as sexton, for containers that share the directory'
complete -c sexton -n "__fish_sexton_using_subcommand install" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and not __fish_seen_subcommand_from replay" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and not __fish_seen_subcommand_from replay" -f -a "replay" -d 'Replay the events of a journal and show the decisions of the engine'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and __fish_seen_subcommand_from replay" -s h -l help -d 'Print help'

# The names of the processes of a running `sexton up`.
complete -c sexton -n "__fish_seen_subcommand_from status logs events why start stop restart signal" -f -a "(sexton names 2>/dev/null)"
