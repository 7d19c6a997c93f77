"""Every verb, one line each: its file in cli/commands and what it does. A new verb is its file and one line here."""

from __future__ import annotations

from typing import Final

from gpuyard.cli.lazy import Family, Verb

JOBS: Final = Family(
    "Submit, watch and end jobs.",
    {
        "submit": Verb("jobs_submit:submit", "Put a job in the queue: a config's name, or -- COMMAND."),
        "list": Verb("jobs_list:list_jobs", "The newest jobs, with their state and why they wait."),
        "get": Verb("jobs_get:get", "Everything about one job."),
        "status": Verb("jobs_status:status", "Counts, limits and local GPUs of the queue."),
        "why": Verb("jobs_why:why", "Why a job waits, and what would make it start."),
        "logs": Verb("jobs_logs:logs", "What a job printed; -f goes on until it ends."),
        "events": Verb("jobs_events:events", "A job's story: who changed what, when, why."),
        "wait": Verb("jobs_wait:wait", "Wait until jobs have ended; the exit code says how."),
        "cancel": Verb("jobs_cancel:cancel", "Cancel jobs: some, those of a status, or all."),
        "retry": Verb("jobs_retry:retry", "Submit a failed or cancelled job again."),
        "hold": Verb("jobs_hold:hold", "Keep waiting jobs from starting."),
        "release": Verb("jobs_hold:release", "Undo hold."),
        "priority": Verb("jobs_priority:priority", "Change the priority of a waiting job."),
        "delete": Verb("jobs_delete:delete", "Forget ended jobs, with their logs."),
        "purge": Verb("jobs_delete:purge", "Forget all jobs that ended so and so long ago."),
        "approval": Verb("jobs_approval:approval", "Approve or reject a job that waits for it."),
    },
)

QUEUE: Final = Family(
    "Look at the queue and steer it.",
    {
        "status": Verb("jobs_status:status", "Counts, limits and local GPUs of the queue."),
        "me": Verb("queue_me:me", "Your own jobs in the queue."),
        "position": Verb("queue_position:position", "Where a job stands, and about when it starts."),
        "limits": Verb("queue_limits:limits", "Show the limits; `limits set` changes them."),
        "process": Verb("queue_process:process", "Start now what may start; needed after a cancel of a run."),
        "pause": Verb("queue_pause:pause", "Let nothing start, here, on workers or in the cloud."),
        "resume": Verb("queue_pause:resume", "End a pause and start what may start."),
        "cleanup": Verb("queue_cleanup:cleanup", "Forget jobs that ended many days ago."),
    },
)

USERS: Final = Family(
    "Who may use this server, and at which level.",
    {
        "list": Verb("users:list_users", "The users, their levels and teams."),
        "add": Verb("users:add", "Add a user; prints its first token once."),
        "set-level": Verb("users:set_level", "Give a user another level."),
        "edit": Verb("users:edit", "Change a user's name or team."),
        "disable": Verb("users:disable", "Shut a user out."),
        "enable": Verb("users:enable", "Let a user in again."),
        "set-password": Verb("users:set_password", "Set a password for the page's log-in."),
        "rescue": Verb("users_rescue:rescue", "A new token for an admin who lost theirs."),
        "remove": Verb("users:remove", "Delete a user and its tokens."),
    },
)

TEAMS: Final = Family(
    "Teams, whom fair share counts together.",
    {
        "list": Verb("teams:list_teams", "The teams and who is in them."),
        "add": Verb("teams:add", "Add a team."),
        "rename": Verb("teams:rename", "Give a team another name."),
        "remove": Verb("teams:remove", "Delete a team that nobody is in."),
    },
)

TOKENS: Final = Family(
    "Tokens: what opens this server, for whom and for what.",
    {
        "list": Verb("tokens:list_tokens", "Your tokens: what for, how long, when last used."),
        "create": Verb("tokens:create", "Make a token; prints it once."),
        "revoke": Verb("tokens:revoke", "Tokens open nothing any more, at once."),
    },
)

SECRETS: Final = Family(
    "Your secrets, which your jobs get by name.",
    {
        "set": Verb("secrets:set_secret", "Keep a secret, typed unseen or read from a file."),
        "list": Verb("secrets:list_secrets", "Your secrets: for what, when set and last used."),
        "delete": Verb("secrets:delete", "Delete secrets."),
    },
)

WEBHOOKS: Final = Family(
    "Have other services told what happens to jobs.",
    {
        "add": Verb("webhooks:add", "Tell an address; prints its signing secret once."),
        "list": Verb("webhooks:list_webhooks", "Your webhooks, and whether they are taken."),
        "test": Verb("webhooks:test_webhook", "Send a message now, and say what came of it."),
        "enable": Verb("webhooks:enable", "Tell it again, from now on."),
        "disable": Verb("webhooks:disable", "Tell it nothing any more."),
        "delete": Verb("webhooks:delete", "Delete webhooks and their secrets."),
        "deliveries": Verb("webhooks:deliveries", "Its messages: what waits, what was taken."),
    },
)

APPROVALS: Final = Family(
    "Decide on jobs that wait for it, and say which do.",
    {
        "list": Verb("approvals:list_approvals", "What waits for an approval, and what was decided."),
        "approve": Verb("approvals:approve", "Let a blocked job into the queue."),
        "reject": Verb("approvals:reject", "Refuse a blocked job, and say why."),
        "rules": Family(
            "Which submits must be approved.",
            {
                "list": Verb("approvals_rules:list_rules", "The rules, in the order of looking."),
                "add": Verb("approvals_rules:add", "A new rule for later submits."),
                "set": Verb("approvals_rules:set_rule", "Change a rule."),
                "remove": Verb("approvals_rules:remove", "Remove a rule."),
                "test": Verb("approvals_rules:test_rule", "What a rule would have blocked of late."),
            },
        ),
    },
)

WORKERS: Final = Family(
    "Machines elsewhere that run jobs.",
    {
        "list": Verb("workers:list_workers", "The workers: what each has and does."),
        "add": Verb("workers:add", "Enrol a machine; prints the line that starts it, once."),
        "get": Verb("workers:get", "Everything about one worker."),
        "drain": Verb("workers:drain", "Give workers no new job; theirs go on."),
        "undrain": Verb("workers:undrain", "Give workers jobs again."),
        "rotate-token": Verb("workers:rotate_token", "A new token for a worker; its jobs go on."),
        "stop-orphan": Verb("workers:stop_orphan", "End a run that this database did not order."),
        "delete": Verb("workers:delete", "Delete a worker and its token."),
    },
)

CLOUD: Final = Family(
    "Cloud providers and cluster engines behind the queue.",
    {
        "providers": Family(
            "Which cloud providers take jobs.",
            {
                "list": Verb("cloud:list_providers", "All known providers, how they are and what runs there."),
                "test": Verb("cloud:test_provider", "Ask a provider now whether it answers."),
                "enable": Verb("cloud:enable", "Let a provider take jobs again."),
                "disable": Verb("cloud:disable", "Send a provider no more jobs."),
            },
        ),
        "cost": Verb("cloud:cost", "What cloud jobs cost, and what was expected of them."),
    },
)

ROOT: Final = Family(
    "Share GPUs between people and their training jobs.",
    {
        "server": Verb("server:server", "Start the server: queue, GPUs, HTTP."),
        "worker": Verb("worker:worker", "Lend this machine's GPUs to a server elsewhere."),
        "demo": Verb("demo:demo", "See real trainings go through a queue of four simulated GPUs."),
        "run": Verb("run:run", "Run a command through the queue and end with its exit code."),
        "jobs": JOBS,
        "queue": QUEUE,
        "workers": WORKERS,
        "approvals": APPROVALS,
        "users": USERS,
        "teams": TEAMS,
        "tokens": TOKENS,
        "secrets": SECRETS,
        "webhooks": WEBHOOKS,
        "login": Verb("login:login", "Keep a token for this server."),
        "logout": Verb("login:logout", "Forget the token kept for this server."),
        "audit": Verb("audit:audit", "Who did what, when: to jobs, people, limits, GPUs."),
        "whoami": Verb("login:whoami", "Who you are here, and what your token is for."),
        "cloud": CLOUD,
        "gpus": Verb("gpus:gpus", "The GPUs, who has them and why one is not handed out."),
        "usage": Verb("usage:usage", "GPU-hours by user, team, place and period."),
        "status": Verb("status:status", "One screen: server, GPUs, queue."),
        "top": Verb("top:top", "A live view of GPUs, runs and queue."),
        "doctor": Verb("doctor:doctor", "Look for what is wrong here and say what to do."),
        "config": Family(
            "The server's settings.", {"show": Verb("config_show:show", "Each setting and where it came from.")}
        ),
        "db": Family(
            "The server's database.",
            {
                "check": Verb("db:check", "Look for damage and broken rules in the database."),
                "backup": Verb("db:backup", "Copy the database, also while the server runs."),
                "restore": Verb("db:restore", "Put a backup in the database's place."),
                "import-simpletuner": Verb("db_import:import_simpletuner", "Take over SimpleTuner's ended jobs."),
            },
        ),
        "completion": Verb("completion:completion", "Print the completion script of a shell."),
        "version": Verb("version:version", "The versions of this command and of the server."),
    },
)
