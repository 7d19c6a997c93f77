PRAGMA application_id = 1735424356;
BEGIN TRANSACTION;
CREATE TABLE approval (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL UNIQUE,
        user_id INTEGER,
        config_name TEXT,
        estimated_cost REAL NOT NULL DEFAULT 0.0,
        status TEXT NOT NULL DEFAULT 'pending',
        requested_at TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        rule_id INTEGER,
        rule_name TEXT,
        required_approver_level TEXT NOT NULL DEFAULT 'admin',
        decided_by TEXT,
        decided_at TEXT,
        decision_reason TEXT
    );
INSERT INTO "approval" VALUES(6,'job000006',1,NULL,0.0,'pending','2023-11-14T22:13:26.000Z','Rule dear',3,'dear','admin',NULL,NULL,NULL);
CREATE TABLE approval_rule (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        condition TEXT NOT NULL DEFAULT '{}',
        threshold REAL,
        enabled INTEGER NOT NULL DEFAULT 1,
        required_approver_level TEXT NOT NULL DEFAULT 'admin',
        exempt_levels TEXT NOT NULL DEFAULT '[]'
    , precedence INTEGER NOT NULL DEFAULT 0);
INSERT INTO "approval_rule" VALUES(3,'dear','cost_exceeds','{}',50.0,1,'lead','["admin"]',2);
CREATE TABLE attempt (
        fence INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES queue (job_id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        phase TEXT NOT NULL,
        host TEXT NOT NULL,
        gpus TEXT NOT NULL,
        assigned_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        pid INTEGER,
        exit_code INTEGER,
        exit_class TEXT,
        error TEXT,
        stop_reason TEXT
    );
INSERT INTO "attempt" VALUES(1099511627777,'job000001',1,'exited','local','[{"uuid":"GPU-00000000-0000-0000-0000-000000000000","index":0}]','2023-11-14T22:15:00.000Z','2023-11-14T22:15:00.000Z','2023-11-14T22:15:51.000Z',9,0,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(1099511627778,'job000002',1,'exited','local','[{"uuid":"GPU-00000000-0000-0000-0000-000000000000","index":0}]','2023-11-14T22:15:00.000Z','2023-11-14T22:15:00.000Z','2023-11-14T22:15:52.000Z',9,1,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(1099511627779,'job000005',1,'lost','local','[]','2023-11-14T22:15:00.000Z',NULL,NULL,NULL,NULL,NULL,'keeper killed, exit code unknown',NULL);
INSERT INTO "attempt" VALUES(1099511627780,'job000004',1,'stopping','local','[{"uuid":"GPU-aaaa","index":1},{"uuid":"GPU-bbbb","index":0}]','2023-11-14T22:15:00.000Z','2023-11-14T22:15:01.500Z',NULL,4242,NULL,NULL,NULL,'by owner');
CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        user_id INTEGER,
        username TEXT NOT NULL DEFAULT '',
        token_id INTEGER,
        address TEXT NOT NULL DEFAULT '',
        subject TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '{}',
        cause TEXT NOT NULL DEFAULT ''
    );
CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        job_id TEXT,
        user_id INTEGER,
        who TEXT NOT NULL DEFAULT '',
        data TEXT NOT NULL DEFAULT '{}',
        cause TEXT NOT NULL DEFAULT ''
    , by_user_id INTEGER, token_id INTEGER, address TEXT NOT NULL DEFAULT '');
INSERT INTO "event" VALUES(1,'2023-11-14T22:13:21.000Z','job_submitted','job000001',1,'owner','{}','c1',NULL,NULL,'');
INSERT INTO "event" VALUES(2,'2023-11-14T22:13:22.000Z','job_submitted','job000002',1,'owner','{}','c2',NULL,NULL,'');
INSERT INTO "event" VALUES(3,'2023-11-14T22:13:23.000Z','job_submitted','job000003',1,'owner','{}','c3',NULL,NULL,'');
INSERT INTO "event" VALUES(4,'2023-11-14T22:13:24.750Z','job_started','job000004',2,'anna','{"gpus":[1,0]}','req-1',NULL,NULL,'');
CREATE TABLE gpu_hold (
        fence INTEGER NOT NULL REFERENCES attempt (fence) ON DELETE CASCADE,
        uuid TEXT NOT NULL,
        host TEXT NOT NULL,
        gpu_index INTEGER NOT NULL,
        opened_at TEXT NOT NULL,
        closed_at TEXT,
        PRIMARY KEY (fence, uuid)
    ) WITHOUT ROWID
    ;
INSERT INTO "gpu_hold" VALUES(1099511627777,'GPU-00000000-0000-0000-0000-000000000000','local',0,'2023-11-14T22:15:00.000Z','2023-11-14T22:15:51.000Z');
INSERT INTO "gpu_hold" VALUES(1099511627778,'GPU-00000000-0000-0000-0000-000000000000','local',0,'2023-11-14T22:15:00.000Z','2023-11-14T22:16:40.000Z');
INSERT INTO "gpu_hold" VALUES(1099511627778,'GPU-cccc','local',2,'2023-11-14T22:14:50.000Z',NULL);
INSERT INTO "gpu_hold" VALUES(1099511627780,'GPU-aaaa','local',1,'2023-11-14T22:15:00.000Z',NULL);
INSERT INTO "gpu_hold" VALUES(1099511627780,'GPU-bbbb','local',0,'2023-11-14T22:15:00.000Z',NULL);
CREATE TABLE idempotency (
        user_id INTEGER NOT NULL,
        key TEXT NOT NULL,
        digest TEXT NOT NULL,
        job_ids TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (user_id, key)
    );
INSERT INTO "idempotency" VALUES(2,'key-1','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','["job000004"]','2023-11-14T22:13:24.000Z');
CREATE TABLE job_spec (
        id INTEGER PRIMARY KEY REFERENCES queue (id) ON DELETE CASCADE,
        spec TEXT NOT NULL
    );
INSERT INTO "job_spec" VALUES(1,'{"argv":["train","1"],"config_name":"sdxl"}');
INSERT INTO "job_spec" VALUES(2,'{"argv":["train","2"],"config_name":"sdxl"}');
INSERT INTO "job_spec" VALUES(3,'{"argv":["train","3"],"config_name":"sdxl"}');
INSERT INTO "job_spec" VALUES(4,'{"argv":["accelerate","launch","train.py","--name","größe ☃"],"workdir":"/srv/projekt","env":{"HF_HUB_OFFLINE":"1"},"config_name":"sdxl","config_hash":"abababababababababababababababababababababababababababababababab","config_text":"command = [\"accelerate\"]\n","name":"night run","target":"local","num_processes":2,"device_ids":[1,0],"estimated_cost":1.25,"time_limit":3600.0,"not_before":1700000010.0,"retry_on":["oom","exit:1"],"checkpoint_signal":"USR1","metadata":{"run_name":"sdxl-lora-7","tags":["a",null,1.5]}}');
INSERT INTO "job_spec" VALUES(5,'{"argv":["train","5"],"config_name":"sdxl"}');
INSERT INTO "job_spec" VALUES(6,'{"num_processes":0}');
CREATE TABLE provider (
        name TEXT NOT NULL PRIMARY KEY,
        enabled INTEGER NOT NULL DEFAULT 1,
        circuit TEXT NOT NULL DEFAULT 'closed',
        failures INTEGER NOT NULL DEFAULT 0,
        why TEXT NOT NULL DEFAULT '',
        opened_at REAL,
        retry_at REAL NOT NULL DEFAULT 0.0,
        pause REAL NOT NULL DEFAULT 0.0
    );
INSERT INTO "provider" VALUES('slurm',0,'open',5,'no answer',1700000005.0,1700000010.0,10.0);
CREATE TABLE queue (
        id INTEGER PRIMARY KEY,
        job_id TEXT UNIQUE NOT NULL,
        user_id INTEGER,
        team_id TEXT,
        provider TEXT DEFAULT 'replicate',
        config_name TEXT,
        priority INTEGER DEFAULT 10,
        priority_override INTEGER,
        status TEXT DEFAULT 'pending',
        position INTEGER DEFAULT 0,
        queued_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        estimated_cost REAL DEFAULT 0.0,
        requires_approval INTEGER DEFAULT 0,
        approval_id INTEGER,
        attempt INTEGER DEFAULT 1,
        max_attempts INTEGER DEFAULT 3,
        error_message TEXT,
        metadata TEXT,
        allocated_gpus TEXT,
        job_type TEXT DEFAULT 'cloud',
        num_processes INTEGER DEFAULT 1,
        name TEXT,
        target TEXT NOT NULL DEFAULT 'auto',
        ranked_at TEXT,
        wait_until TEXT,
        held INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        exit_code INTEGER,
        exit_class TEXT,
        cost_usd REAL,
        retry_of TEXT
    );
INSERT INTO "queue" VALUES(1,'job000001',1,NULL,'local','sdxl',30,NULL,'completed',1,'2023-11-14T22:13:21.000Z','2023-11-14T22:15:00.000Z','2023-11-14T22:15:51.000Z',0.0,0,NULL,1,3,NULL,'{}','[0]','local',1,NULL,'auto','2023-11-14T22:13:21.000Z',NULL,0,0,0,NULL,NULL,NULL);
INSERT INTO "queue" VALUES(2,'job000002',1,NULL,'local','sdxl',30,NULL,'failed',2,'2023-11-14T22:13:22.000Z','2023-11-14T22:15:00.000Z','2023-11-14T22:15:52.000Z',0.0,0,NULL,1,3,NULL,'{}','[0]','local',1,NULL,'auto','2023-11-14T22:13:22.000Z',NULL,0,0,1,NULL,NULL,NULL);
INSERT INTO "queue" VALUES(3,'job000003',1,NULL,'local','sdxl',30,NULL,'cancelled',3,'2023-11-14T22:13:23.000Z',NULL,'2023-11-14T22:13:50.000Z',0.0,0,NULL,1,3,NULL,'{}',NULL,'local',1,NULL,'auto','2023-11-14T22:13:23.000Z',NULL,0,0,NULL,NULL,NULL,NULL);
INSERT INTO "queue" VALUES(4,'job000004',2,'alpha','local','sdxl',20,45,'running',4,'2023-11-14T22:13:24.000Z','2023-11-14T22:15:01.500Z',NULL,1.25,0,NULL,1,3,NULL,'{"run_name":"sdxl-lora-7","tags":["a",null,1.5]}','[1,0]','local',2,'night run','local','2023-11-14T22:13:24.000Z',NULL,0,1,NULL,NULL,NULL,NULL);
INSERT INTO "queue" VALUES(5,'job000005',1,NULL,'local','sdxl',30,NULL,'pending',5,'2023-11-14T22:13:25.000Z',NULL,NULL,0.0,0,NULL,2,3,NULL,'{}','[]','local',1,NULL,'auto','2023-11-14T22:13:25.000Z','2023-11-14T22:28:20.125Z',1,0,NULL,NULL,NULL,'job000002');
INSERT INTO "queue" VALUES(6,'job000006',1,NULL,'local',NULL,30,NULL,'blocked',6,'2023-11-14T22:13:26.000Z',NULL,NULL,0.0,1,6,1,3,NULL,'{}',NULL,'local',0,NULL,'auto','2023-11-14T22:13:26.000Z',NULL,0,0,NULL,NULL,NULL,NULL);
CREATE TABLE "schema_migration" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "applied" DATETIME NOT NULL);
INSERT INTO "schema_migration" VALUES(1,'0001_initial','2026-11-22 12:44:21.285305');
INSERT INTO "schema_migration" VALUES(2,'0002_audit','2026-11-22 12:44:21.292570');
INSERT INTO "schema_migration" VALUES(3,'0003_people','2026-11-22 12:44:21.302037');
INSERT INTO "schema_migration" VALUES(4,'0004_rules','2026-11-22 12:44:21.305181');
INSERT INTO "schema_migration" VALUES(5,'0005_providers','2026-11-22 12:44:21.311975');
INSERT INTO "schema_migration" VALUES(6,'0006_workers','2026-11-22 12:44:21.314368');
INSERT INTO "schema_migration" VALUES(7,'0007_webhooks','2026-11-22 12:44:21.320843');
CREATE TABLE setting (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "setting" VALUES('store.id','"07eb5b5122ff42bc8a2cdcc2cf22fb32"');
INSERT INTO "setting" VALUES('store.epoch','1');
INSERT INTO "setting" VALUES('store.supervisor','1');
INSERT INTO "setting" VALUES('store.file','3180226');
INSERT INTO "setting" VALUES('limits','{"max_concurrent":7,"local_gpu_max_concurrent":null}');
CREATE TABLE submitter (user_id INTEGER NOT NULL PRIMARY KEY, first_at TEXT NOT NULL);
INSERT INTO "submitter" VALUES(1,'2023-11-14T22:13:21.000Z');
CREATE TABLE team (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        created_at TEXT NOT NULL
    );
CREATE TABLE token (
        id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES user (id),
        name TEXT NOT NULL DEFAULT '',
        digest TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        last_used_at TEXT,
        revoked_at TEXT
    , scopes TEXT NOT NULL DEFAULT '["read","submit","admin"]', expires_at TEXT, created_by INTEGER);
CREATE TABLE usage (
        day TEXT NOT NULL,
        user_id INTEGER NOT NULL,
        team_id TEXT NOT NULL DEFAULT '',
        place TEXT NOT NULL,
        runs INTEGER NOT NULL DEFAULT 0,
        run_ms INTEGER NOT NULL DEFAULT 0,
        gpu_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (day, user_id, team_id, place)
    ) WITHOUT ROWID
    ;
INSERT INTO "usage" VALUES('2023-11-14',1,'','local',2,103000,103000);
CREATE TABLE user (
        id INTEGER PRIMARY KEY,
        username TEXT NOT NULL UNIQUE,
        level TEXT NOT NULL,
        team_id TEXT REFERENCES team (id),
        created_at TEXT NOT NULL,
        disabled_at TEXT
    , password_hash TEXT, deleted_at TEXT);
CREATE TABLE webhook (
        id TEXT NOT NULL PRIMARY KEY,
        owner INTEGER NOT NULL,
        url TEXT NOT NULL,
        events TEXT NOT NULL DEFAULT '[]',
        scope TEXT NOT NULL DEFAULT 'own',
        cursor INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL DEFAULT '',
        enabled INTEGER NOT NULL DEFAULT 1,
        why TEXT NOT NULL DEFAULT '',
        failing_since REAL,
        delivered_at REAL
    ) WITHOUT ROWID
    ;
INSERT INTO "webhook" VALUES('wh_1',1,'https://example.com/hook','["failed"]','own',3,1700000000.0,'anna',1,'',1700000005.0,NULL);
CREATE TABLE webhook_delivery (
        id TEXT NOT NULL PRIMARY KEY,
        webhook_id TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at REAL NOT NULL,
        next_at REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        ended_at REAL,
        status INTEGER,
        why TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID
    ;
INSERT INTO "webhook_delivery" VALUES('msg_12','wh_1',2,'job.failed','{"type":"job.failed"}',1700000004.0,1700000030.0,'pending',2,NULL,500,'it answered 500');
CREATE TABLE worker (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        "order" INTEGER NOT NULL,
        created_at REAL NOT NULL,
        ephemeral INTEGER NOT NULL DEFAULT 0,
        labels TEXT NOT NULL DEFAULT '{}',
        keys TEXT NOT NULL DEFAULT '[]',
        drained INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        incarnation TEXT NOT NULL DEFAULT '',
        journal TEXT NOT NULL DEFAULT '',
        life INTEGER NOT NULL DEFAULT 0,
        stranded TEXT NOT NULL DEFAULT '[]',
        clones TEXT NOT NULL DEFAULT '[]',
        connected_at REAL,
        heard_at REAL,
        offline_since REAL
    );
CREATE UNIQUE INDEX "schema_migration_name" ON "schema_migration" ("name");
CREATE INDEX queue_status ON queue (status);
CREATE INDEX queue_user_id ON queue (user_id);
CREATE INDEX queue_finished ON queue (completed_at, id, status, user_id, config_name)
    WHERE completed_at IS NOT NULL
    ;
CREATE INDEX attempt_job_id ON attempt (job_id);
CREATE UNIQUE INDEX gpu_hold_open ON gpu_hold (host, uuid) WHERE closed_at IS NULL;
CREATE INDEX event_job_id ON event (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX idempotency_at ON idempotency (at);
CREATE INDEX token_user_id ON token (user_id);
CREATE TRIGGER queue_terminal BEFORE UPDATE OF status ON queue
    WHEN OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status IS NOT OLD.status
    BEGIN SELECT RAISE(ABORT, 'a terminal status never changes'); END;
CREATE TRIGGER queue_active_stays BEFORE DELETE ON queue
    WHEN OLD.status IS NULL OR OLD.status NOT IN ('completed', 'failed', 'cancelled')
    BEGIN SELECT RAISE(ABORT, 'an active job is never deleted'); END;
CREATE TRIGGER attempt_one_live BEFORE INSERT ON attempt
    WHEN NEW.phase IN ('assigned', 'starting', 'running', 'stopping') AND EXISTS (SELECT 1 FROM attempt WHERE job_id = NEW.job_id AND phase IN ('assigned', 'starting', 'running', 'stopping'))
    BEGIN SELECT RAISE(ABORT, 'the job has a live attempt already'); END;
CREATE TRIGGER attempt_terminal BEFORE UPDATE OF phase ON attempt
    WHEN OLD.phase NOT IN ('assigned', 'starting', 'running', 'stopping') AND NEW.phase IS NOT OLD.phase
    BEGIN SELECT RAISE(ABORT, 'a terminal phase never changes'); END;
CREATE TRIGGER event_never_replaced BEFORE INSERT ON event
    WHEN EXISTS (SELECT 1 FROM event WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_never_goes BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE INDEX audit_at ON audit (at);
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_never_goes BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE INDEX approval_status ON approval (status, id);
CREATE TRIGGER approval_decided BEFORE UPDATE OF status ON approval
    WHEN OLD.status IS NOT 'pending' AND NEW.status IS NOT OLD.status
    BEGIN SELECT RAISE(ABORT, 'a decision never changes'); END;
CREATE TRIGGER approval_never_goes BEFORE DELETE ON approval
    BEGIN SELECT RAISE(ABORT, 'approvals are kept'); END;
CREATE INDEX event_submitted ON event (at, user_id) WHERE kind = 'job_submitted';
CREATE UNIQUE INDEX worker_name ON worker (name);
COMMIT;
