-- Who may sign in, and who may do what. As in Druid these are two lists: a password says who somebody is, roles say what
-- he may do, and somebody whose password is kept elsewhere (OIDC) has roles alone.

CREATE TABLE nemeton_credentials (
    user_name TEXT PRIMARY KEY,
    password_hash TEXT                      -- argon2id; NULL until one is set: nobody can sign in so
);

CREATE TABLE nemeton_users (
    name TEXT PRIMARY KEY
);

CREATE TABLE nemeton_roles (
    name TEXT PRIMARY KEY,
    permissions JSONB NOT NULL DEFAULT '[]' -- [{"resource": {"name": regular expression, "type"}, "action"}]
);

CREATE TABLE nemeton_user_roles (
    user_name TEXT NOT NULL REFERENCES nemeton_users (name) ON DELETE CASCADE,
    role_name TEXT NOT NULL REFERENCES nemeton_roles (name) ON DELETE CASCADE,
    PRIMARY KEY (user_name, role_name)
);
CREATE INDEX nemeton_user_roles_of_role ON nemeton_user_roles (role_name);

-- The role that Druid makes too; no user has it until one is given it.
INSERT INTO nemeton_roles (name, permissions) VALUES ('admin', '[
    {"resource": {"name": ".*", "type": "DATASOURCE"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "DATASOURCE"}, "action": "WRITE"},
    {"resource": {"name": ".*", "type": "VIEW"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "CONFIG"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "CONFIG"}, "action": "WRITE"},
    {"resource": {"name": ".*", "type": "STATE"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "STATE"}, "action": "WRITE"},
    {"resource": {"name": ".*", "type": "SYSTEM_TABLE"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "SYSTEM_TABLE"}, "action": "WRITE"},
    {"resource": {"name": ".*", "type": "EXTERNAL"}, "action": "READ"},
    {"resource": {"name": ".*", "type": "EXTERNAL"}, "action": "WRITE"}
]');
