//! Users of this machine, made for a test and removed after it.

use std::process::{Command, Stdio};

pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    ours: bool,
}

impl User {
    /// A system user without a home or a shell. One that a killed test left behind will do.
    pub fn create(name: &str) -> User {
        let program = "useradd";
        let arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name];
        let status = Command::new(program).args(arguments).stderr(Stdio::null()).status().unwrap();
        const EXISTS: i32 = 9;
        assert!(status.success() || status.code() == Some(EXISTS), "{program} {name}: {status}");
        let mut user = User::existing(name);
        user.ours = true;
        user
    }

    pub fn existing(name: &str) -> User {
        let user = nix::unistd::User::from_name(name).unwrap().unwrap_or_else(|| panic!("there is no user {name}"));
        User { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw(), ours: false }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.ours {
            let _ = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
        }
    }
}
