//! The installer, with an apt that only writes down how it was called.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::Scratch;

/// What the script may use; everything else is missing on this machine.
const PROGRAMS: [&str; 12] =
    ["bash", "sh", "cat", "chmod", "dirname", "env", "grep", "mktemp", "rm", "tail", "tee", "test"];

struct Machine {
    scratch: Scratch,
}

impl Machine {
    /// A machine whose `apt-get` ends with `code` and whose user has this id.
    fn new(code: i32, user: u32) -> Result<Self> {
        let scratch = Scratch::new("install")?;
        let machine = Self { scratch };
        std::fs::create_dir(machine.path("bin"))?;
        for program in PROGRAMS {
            let real = ["/usr/bin", "/bin"].iter().map(|folder| PathBuf::from(folder).join(program));
            let real = real.into_iter().find(|path| path.exists()).with_context(|| program.to_string())?;
            symlink(real, machine.path("bin").join(program))?;
        }
        let log = machine.path("apt.log");
        let policy = machine.path("policy");
        machine.program(
            "apt-get",
            &format!(
                "echo \"$@\" >>'{}'\n[ ! -e '{}' ] || echo policy >>'{}'\nexit {code}",
                log.display(),
                policy.display(),
                log.display()
            ),
        )?;
        machine.program("dpkg-query", "exit 1")?;
        machine.program("id", &format!("echo {user}"))?;
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.scratch.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"))?;
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
    }

    fn install(&self, set: &str) -> Result<Output> {
        Command::new(repository().join("tests/setup/install.sh"))
            .arg(set)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("POLICY_RC_D", self.path("policy"))
            .output()
            .context("the installer starts")
    }

    fn apt_calls(&self) -> String {
        std::fs::read_to_string(self.path("apt.log")).unwrap_or_default()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn installing_the_server_keeps_its_service_from_starting() -> Result<()> {
    let machine = Machine::new(0, 0)?;
    let output = machine.install("ats")?;
    assert!(output.status.success(), "{}", said(&output));
    let calls = machine.apt_calls();
    assert!(calls.contains("install -y --no-install-recommends trafficserver"), "{calls}");
    assert!(calls.contains("policy"), "policy-rc.d was not there during the installation: {calls}");
    assert!(!machine.path("policy").exists(), "policy-rc.d was left behind");
    assert!(said(&output).contains("service is not started"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_policy_of_the_system_is_left_alone() -> Result<()> {
    let machine = Machine::new(0, 0)?;
    machine.scratch.write("policy", "exit 101\n")?;
    machine.install("ats")?;
    assert_eq!(std::fs::read_to_string(machine.path("policy"))?, "exit 101\n");
    Ok(())
}

#[test]
fn with_everything_there_apt_is_not_asked() -> Result<()> {
    let machine = Machine::new(0, 0)?;
    machine.program("traffic_server", "exit 0")?;
    let output = machine.install("ats")?;
    assert!(output.status.success());
    assert_eq!((machine.apt_calls().as_str(), said(&output).as_str()), ("", ""));
    Ok(())
}

#[test]
fn without_network_it_says_what_is_missing_and_what_to_do() -> Result<()> {
    let machine = Machine::new(100, 0)?;
    let output = machine.install("ats")?;
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("could not install: trafficserver"), "{text}");
    assert!(text.contains("check the network"), "{text}");
    assert!(machine.apt_calls().contains("update"), "{}", machine.apt_calls());
    assert!(!machine.path("policy").exists(), "policy-rc.d was left behind");
    Ok(())
}

#[test]
fn a_user_without_sudo_is_told_the_command() -> Result<()> {
    let machine = Machine::new(0, 1000)?;
    let output = machine.install("ats")?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("apt-get install --no-install-recommends trafficserver"));
    assert_eq!(machine.apt_calls(), "");
    Ok(())
}

#[test]
fn a_user_with_sudo_is_told_that_it_is_used() -> Result<()> {
    let machine = Machine::new(0, 1000)?;
    machine.program("sudo", "exec \"$@\"")?;
    let output = machine.install("ats")?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("sudo may ask"), "{}", said(&output));
    assert!(machine.apt_calls().contains("trafficserver"));
    Ok(())
}
