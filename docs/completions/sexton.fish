# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sexton_global_optspecs
    string join \n i/interface= b/sidebind= s/socket-activation= S/stdout= E/stderr= L/stdlog= status-format= v/verbose log-format= debug-journal= p/port= h/help V/version
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

complete -c sexton -n "__fish_sexton_needs_command" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_needs_command" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_needs_command" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_needs_command" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_needs_command" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_needs_command" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_needs_command" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_needs_command" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_needs_command" -s V -l version -d 'Print version'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "run" -d 'Run a process once; when it ends, so do we, with its exit code'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "r" -d 'Run a process once; when it ends, so do we, with its exit code'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "supervise" -d 'Run a process again whenever it ends, after a pause'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "s" -d 'Run a process again whenever it ends, after a pause'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "watch" -d 'Answer for processes that somebody else started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "w" -d 'Answer for processes that somebody else started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "up" -d 'Run many processes from one file: order, probes, restarts, hooks, logs'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "check" -d 'Check a file for `up`, and print the plan that it makes'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "schema" -d 'Print the JSON Schema of sexton.yaml, for editors'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "lock" -d 'Locks: serve them, hold one, list them'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "status" -d 'Show the processes of a running `up`'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "logs" -d 'Show what processes have written'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "events" -d 'Show what has happened'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "why" -d 'Tell what led to the present state of a process'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "start" -d 'Start processes, and wait until they have started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "stop" -d 'Stop processes, and wait until they have ended; they stay down until somebody starts them'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "restart" -d 'Stop processes and start them anew, and wait until they have started'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "signal" -d 'Send a signal to the process groups of processes'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "reload" -d 'Read the file again, and change what has changed; a file that is not all right changes nothing'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "end" -d 'Stop everything, as TERM does'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "wait" -d 'Wait until all processes are healthy'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "names" -d 'Print the names of the processes, for completions'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "automaton" -d 'Run shell scripts by a state machine that is driven over a unix socket'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "ensemble" -d 'An ensemble of pods: members report, masters keep an ordered list, the one that leads runs a callback'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "graves" -d 'List the tombstones of a graveyard: who was born, is ready, has died'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "install" -d 'Make links to this program under the names of the tools it stands in for'
complete -c sexton -n "__fish_sexton_needs_command" -f -a "debug" -d 'For those who look for a fault in sexton itself'
complete -c sexton -n "__fish_sexton_using_subcommand run" -s w -l wait -d 'Keep answering so long after it ended [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l name -d 'What the process is called in logs and metrics [default: the command\'s file name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s t -l ttl -d 'End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l grace-period -d 'From the stop signal to KILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l stop-signal -d 'What it is sent when it shall end, and when we get TERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard -d 'The directory that the containers share. We carve a tombstone there, called as the process is (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard-mode -d 'The mode of that directory, if we make it [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l graveyard-poll -d 'Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l death-dep -l death-deps -d 'End when any of these has ended: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l birth-timeout -d 'How long to wait for each of them before giving up with exit code 1; 0 is for ever [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l rebirth-timeout -d 'A death by which we have ended before counts again after this time, if whoever died has not come back [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l exit-codes -d 'Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l pod-name -d 'Ask the Kubernetes API about the containers of this pod: birth dependencies may be any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l namespace -d 'The pod\'s namespace [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l wait-for -d 'Start when these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l quit -d 'Tell these to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one makes it an error if that does not work' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l quit-when -d 'Tell them always, or only when our exit code is 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand run" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand run" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand r" -s w -l wait -d 'Keep answering so long after it ended [default: 0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l name -d 'What the process is called in logs and metrics [default: the command\'s file name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s t -l ttl -d 'End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l grace-period -d 'From the stop signal to KILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l stop-signal -d 'What it is sent when it shall end, and when we get TERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard -d 'The directory that the containers share. We carve a tombstone there, called as the process is (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard-mode -d 'The mode of that directory, if we make it [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l graveyard-poll -d 'Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l death-dep -l death-deps -d 'End when any of these has ended: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l birth-timeout -d 'How long to wait for each of them before giving up with exit code 1; 0 is for ever [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l rebirth-timeout -d 'A death by which we have ended before counts again after this time, if whoever died has not come back [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l exit-codes -d 'Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l pod-name -d 'Ask the Kubernetes API about the containers of this pod: birth dependencies may be any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l namespace -d 'The pod\'s namespace [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l wait-for -d 'Start when these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l quit -d 'Tell these to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one makes it an error if that does not work' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l quit-when -d 'Tell them always, or only when our exit code is 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand r" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand r" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s w -l wait -d 'Always pause so long before a restart, instead of --backoff' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l backoff -d 'The first and the longest pause before a restart; it doubles, a fifth more or less by chance [default: 5s..5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l backoff-reset -d 'After a run of this length the pause begins anew [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l max-restarts -d 'Give up when it would have to be restarted more often than so within the window [default: never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l restart-window -d 'The window of --max-restarts [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l name -d 'What the process is called in logs and metrics [default: the command\'s file name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s t -l ttl -d 'End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l grace-period -d 'From the stop signal to KILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l stop-signal -d 'What it is sent when it shall end, and when we get TERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard -d 'The directory that the containers share. We carve a tombstone there, called as the process is (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard-mode -d 'The mode of that directory, if we make it [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l graveyard-poll -d 'Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l death-dep -l death-deps -d 'End when any of these has ended: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l birth-timeout -d 'How long to wait for each of them before giving up with exit code 1; 0 is for ever [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l rebirth-timeout -d 'A death by which we have ended before counts again after this time, if whoever died has not come back [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l exit-codes -d 'Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l pod-name -d 'Ask the Kubernetes API about the containers of this pod: birth dependencies may be any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l namespace -d 'The pod\'s namespace [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l wait-for -d 'Start when these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l quit -d 'Tell these to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one makes it an error if that does not work' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l quit-when -d 'Tell them always, or only when our exit code is 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand supervise" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand s" -s w -l wait -d 'Always pause so long before a restart, instead of --backoff' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l backoff -d 'The first and the longest pause before a restart; it doubles, a fifth more or less by chance [default: 5s..5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l backoff-reset -d 'After a run of this length the pause begins anew [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l max-restarts -d 'Give up when it would have to be restarted more often than so within the window [default: never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l restart-window -d 'The window of --max-restarts [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l name -d 'What the process is called in logs and metrics [default: the command\'s file name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s t -l ttl -d 'End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l grace-period -d 'From the stop signal to KILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l stop-signal -d 'What it is sent when it shall end, and when we get TERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard -d 'The directory that the containers share. We carve a tombstone there, called as the process is (--name) [default: /graveyard, if a dependency is given]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard-mode -d 'The mode of that directory, if we make it [default: 1777]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l graveyard-poll -d 'Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l death-dep -l death-deps -d 'End when any of these has ended: main or main:failed,a+b [env: SEXTON_DEATH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l birth-dep -l birth-deps -d 'Start when all of these are ready: proxy or proxy,db:started@1m? [env: SEXTON_BIRTH_DEPS]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l birth-timeout -d 'How long to wait for each of them before giving up with exit code 1; 0 is for ever [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l rebirth-timeout -d 'A death by which we have ended before counts again after this time, if whoever died has not come back [default: 10m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l exit-codes -d 'Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l pod-name -d 'Ask the Kubernetes API about the containers of this pod: birth dependencies may be any of them' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l namespace -d 'The pod\'s namespace [default: that of the service account]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l wait-for -d 'Start when these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd, cloud-sql-proxy' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l quit -d 'Tell these to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one makes it an error if that does not work' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l quit-when -d 'Tell them always, or only when our exit code is 0 [default: always]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand s" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand s" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s p -l pid -d 'Watch this one process only' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s w -l wait -d 'The pause between looks at the process list [default: 5s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand w" -s p -l pid -d 'Watch this one process only' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s w -l wait -d 'The pause between looks at the process list [default: 5s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand w" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand w" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand up" -l control -d 'Where the control socket is, or none [default: /run/sexton.sock; if we are not root, sexton.sock in $XDG_RUNTIME_DIR or $HOME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l readiness-file -d 'A file that is there while all processes are healthy' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l readiness-file-sticky -d 'It stays when health is lost; it still goes when everything ends' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l exit-from -d 'The process whose exit code becomes ours, and whose end ends everything' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l shutdown-deadline -d 'How long everything may take to end [default: terminationGracePeriodSeconds of the file, less a little]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand up" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand check" -l json -d 'As JSON'
complete -c sexton -n "__fish_sexton_using_subcommand check" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand schema" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "serve" -d 'Serve locks over HTTP, kept in a file of this machine or in etcd'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "hold" -d 'Run a command only while a lock is ours: wait for it, and end the command before another can have it'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "list" -d 'List the locks that are held, and by whom'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and not __fish_seen_subcommand_from serve hold list guard" -f -a "guard" -d 'Guard the runs of another sexton'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l store -d 'The file [default: below /var/lib/sexton, or ~/.local/state/sexton]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd -d 'Keep it in etcd: its nodes, a,b,c; host, host:port or a URL' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-ca -d 'Who may have signed etcd\'s certificates (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-cert -d 'Our certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-key -d 'Its key (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-user -d 'Our name at etcd' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l etcd-password-file -d 'The file with the password that goes with it' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s p -l port -d 'Where it listens [default: 8191]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l lock-ttl -d 'How long the lock lasts without a sign of life of ours [default: 2s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l url -d 'The lock server [default: http://localhost:8191]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l name -d 'What the process is called in logs and metrics [default: the command\'s file name]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s t -l ttl -d 'End it after so long; of a range such as 10s..40s, a random part is drawn at each start; 0 is never' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l grace-period -d 'From the stop signal to KILL [default: 30s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l stop-signal -d 'What it is sent when it shall end, and when we get TERM [default: TERM]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s b -l sidebind -d 'Also listen at the next free port above, and report it' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s s -l socket-activation -d 'Take the listener from the service manager (LISTEN_FDS); port and interface do not count then' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s S -l stdout -d 'Pass on the process\'s standard output [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s E -l stderr -d 'Pass on the process\'s standard error [default: true]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s L -l stdlog -d 'Pass on the process\'s output as log records with time stamps' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l status-format -d 'Answer / with the bare object, or with a list [default: object]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -l debug-journal -d 'Write every event to this file as a line of JSON, for `sexton debug replay`' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: none]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s v -l verbose -d 'Say more on standard error: once for what happens, twice for how'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -l url -d 'The lock server [default: http://localhost:8191]' -r
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -s o -l output -d 'As a table or as JSON' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand lock; and __fish_seen_subcommand_from guard" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand status" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand status" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand status" -s w -l watch -d 'Again every second'
complete -c sexton -n "__fish_sexton_using_subcommand status" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s n -l tail -d 'How many lines of before' -r
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s o -l output -d 'In which form [default: pretty on a terminal, else logfmt]' -r -f -a "logfmt\t''
json\t''
raw\t''
pretty\t''"
complete -c sexton -n "__fish_sexton_using_subcommand logs" -l control -d 'Where it is asked' -r
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s f -l follow -d 'And what they write'
complete -c sexton -n "__fish_sexton_using_subcommand logs" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand events" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand events" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand events" -s f -l follow -d 'And what happens'
complete -c sexton -n "__fish_sexton_using_subcommand events" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand why" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand why" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand why" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand start" -s t -l timeout -d 'How long to wait for it [default: for ever]' -r
complete -c sexton -n "__fish_sexton_using_subcommand start" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand start" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand start" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s t -l timeout -d 'How long to wait for it [default: for ever]' -r
complete -c sexton -n "__fish_sexton_using_subcommand stop" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand stop" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s t -l timeout -d 'How long to wait for it [default: for ever]' -r
complete -c sexton -n "__fish_sexton_using_subcommand restart" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand restart" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand signal" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand signal" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand signal" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand reload" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand reload" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand reload" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand end" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand end" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand end" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s t -l timeout -d 'How long at most [default: for ever]' -r
complete -c sexton -n "__fish_sexton_using_subcommand wait" -l readiness-file -d 'Wait for this file, instead of asking' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand wait" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand wait" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand names" -l control -d 'Where it is asked: its control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand names" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand names" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s s -l socket -d 'Where it is asked [default: the file\'s, else /var/run/automaton.sock]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l socket-mode -d 'Who may ask it, in octal [default: the file\'s, else 600]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s l -l log -d 'Log into this file, which is put aside when it has 64 KiB (three of those are kept) [default: standard error]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l section -d 'The way to the section of the file' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s p -l port -d 'Where the HTTP server listens: a port, 0 for any that is free, or none for no server [default: 6666]' -r
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s d -l debug -d 'Log what the scripts print'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l check -d 'Only check the file'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -l dot -d 'Only print the machine as a graph, for Graphviz'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s v -l verbose -d 'Say more: how, and not only what happens'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and not __fish_seen_subcommand_from ctl" -a "ctl" -d 'Say a line to a running automaton and print the answer: STATE, GOTO TAG, WAIT TAG (a payload may follow), SET KEY VALUE, DIE, HISTORY, WATCH'
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and __fish_seen_subcommand_from ctl" -s s -l socket -d 'Where it is asked [default: /var/run/automaton.sock]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand automaton; and __fish_seen_subcommand_from ctl" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l role -d 'What this pod is: it reports to masters, keeps the list, or both' -r -f -a "member\t''
master\t''
both\t''"
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l app -d 'The name of the ensemble [default: the pod\'s label app]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l namespace -d 'Whose ensemble [default: the pod\'s namespace, or default]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l id -d 'The name of this pod, unique in the ensemble [default: the host\'s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l ip -d 'The address of this pod [default: that by which it would reach its first master]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l host -d 'The address of its node' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l node -d 'The name of its node [default: NODE_NAME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l labels -d 'Labels of the pod, as JSON' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l annotations -d 'Annotations of the pod, as JSON; sexton.dev/masters are its masters' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l pod-info -d 'A directory with files of the downward API: labels, annotations, name, namespace' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l cloud -d 'Ask the metadata service of a cloud for the name of the node, if nobody else knows it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l label-role -d 'What this pod is for, as callbacks see it [default: the pod\'s label role, or member]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l masters -d 'Whom a member reports to: host or host:port, several with commas; with https://, zerorpc:// or zerorpcs:// before it, by that' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l report-app -d 'A master\'s --masters are those of this other ensemble, and are told the digest and the size of its own' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l payload -d 'A file of JSON that a member tells; a change of it is told at once' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l payload-of -d 'Tell how the processes are of an `up` with this control socket' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l member-ttl -d 'A member that is silent for so long is gone; it reports every 3/4 of that [default: 25s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l fail-over -d 'How long the place of a leader is held that is dead [default: 60s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l damper -d 'From the last change of the list to the callback [default: 10s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l callback -d 'What the leader runs when the list has changed: a command, split at blanks' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l shell-callback -d 'The same, given to sh -c' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l leads -d 'Want to lead also without a callback, for processes that run by it and know this word' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l callback-deadline -d 'How long it may take before it is killed [default: 5m]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l token-file -d 'The file with the token that whoever wants a command run has to show; without it and --tls-ca there are no commands' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l invoke-user -d 'Commands run as this user: USER or USER:GROUP, by names or numbers [default: ours]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l tls-cert -d 'Our certificate (PEM): with it, all that comes to the port must be encrypted' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l tls-key -d 'Its key (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l tls-ca -d 'The certificates (PEM) of which one must have signed the masters\'; whoever shows one that they have signed may have us run commands [default: the system\'s, and nobody]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l statsd -d 'Where counters are sent, or none [default: 127.0.0.1:8125]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l store -d 'The file [default: below /var/lib/sexton, or ~/.local/state/sexton]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd -d 'Keep it in etcd: its nodes, a,b,c; host, host:port or a URL' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd-ca -d 'Who may have signed etcd\'s certificates (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd-cert -d 'Our certificate for etcd (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd-key -d 'Its key (PEM)' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd-user -d 'Our name at etcd' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l etcd-password-file -d 'The file with the password that goes with it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -s i -l interface -d 'The address to listen at: IPv4 or IPv6 [default: 0.0.0.0]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l log-format -d 'The form of our own log: logfmt, text, or by whether standard error is a terminal [default: auto]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -s p -l port -d 'Where it listens [default: 8000]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l from-kubernetes -d 'Ask the Kubernetes API for what is not given: labels, annotations, addresses, the node'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l allow-unauthenticated-invoke -d 'Whoever reaches the port may have us run commands'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -l authenticated-keepalives -d 'Whoever reports has to show the token or a certificate too, and what we report shows ours'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -s v -l verbose -d 'Say more: how, and not only what happens'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "status" -d 'What a master knows, for people: whether it leads, the digest, the last callback, the members'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "events" -d 'What has happened lately, as lines of JSON'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "pods" -d 'The members that are up, in their order'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "leader" -d 'Whether the master that is asked leads, and with which number'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "digest" -d 'The digest of the list'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "state" -d 'What the last callback has printed'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "callbacks" -d 'The last runs of the callback'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "render" -d 'Fill a template (Jinja) with what is known of this pod, its node and the members'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and not __fish_seen_subcommand_from status events pods leader digest state callbacks render invoke" -f -a "invoke" -d 'Have a pod run a command of the shell, and print what it prints'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -s f -l follow -d 'And what happens'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from pods" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from leader" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from digest" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from state" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from callbacks" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l namespace -d 'Whose ensemble [default: the pod\'s namespace, or default]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l id -d 'The name of this pod, unique in the ensemble [default: the host\'s]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l ip -d 'The address of this pod [default: that by which it would reach its first master]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l host -d 'The address of its node' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l node -d 'The name of its node [default: NODE_NAME]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l labels -d 'Labels of the pod, as JSON' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l annotations -d 'Annotations of the pod, as JSON; sexton.dev/masters are its masters' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l pod-info -d 'A directory with files of the downward API: labels, annotations, name, namespace' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l cloud -d 'Ask the metadata service of a cloud for the name of the node, if nobody else knows it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l pod -d 'A master that tells who is there [default: nobody is asked]' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l tls-ca -d 'The certificates (PEM) of which one must have signed the master\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -s o -l output -d 'Where it is written [default: standard output]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -l from-kubernetes -d 'Ask the Kubernetes API for what is not given: labels, annotations, addresses, the node'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l token-file -d 'The file with the token that the pod wants' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l pod -d 'The pod: host or host:port, with http:// (the default), https://, zerorpc:// or zerorpcs:// before it' -r
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-ca -d 'The certificates (PEM) of which one must have signed the pod\'s [default: the system\'s]' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-cert -d 'Our certificate (PEM), for a pod that wants one' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -l tls-key -d 'Its key (PEM)' -r -F
complete -c sexton -n "__fish_sexton_using_subcommand ensemble; and __fish_seen_subcommand_from invoke" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand graves" -s o -l output -d 'For people or for programs' -r -f -a "table\t''
json\t''"
complete -c sexton -n "__fish_sexton_using_subcommand graves" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand install" -l copy -d 'Copy this program there too, as sexton, for containers that share the directory'
complete -c sexton -n "__fish_sexton_using_subcommand install" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and not __fish_seen_subcommand_from replay" -s h -l help -d 'Print help'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and not __fish_seen_subcommand_from replay" -f -a "replay" -d 'Repeat the events of a journal and show what the engine made of them'
complete -c sexton -n "__fish_sexton_using_subcommand debug; and __fish_seen_subcommand_from replay" -s h -l help -d 'Print help'

# The names of the processes of a running `sexton up`.
complete -c sexton -n "__fish_seen_subcommand_from status logs events why start stop restart signal" -f -a "(sexton names 2>/dev/null)"
