# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell's usage" do
  commands = %w[migrate serve work task queues limit pause resume dead-letters check doctor config completions]

  it "is told by --help, with every command and every exit code" do
    help = stepwell("--help")

    expect(help).to have_attributes(code: 0, err: "")
    expect(help.out.scan(/^  ([a-z-]+) /).flatten).to include(*commands)
    expect(help.out).to match(/Exit codes:\n  0    done\n  1 .*\n  2 .*\n  3 .*\n  4 .*\n  130 /)
    expect(help.out).not_to include("\e")
    expect(stepwell("help", "task", "submit").out).to include("--idempotency-key <KEY>", "@order.json")
  end

  it "has the gem's version" do
    expect(stepwell("--version")).to have_attributes(code: 0, out: "stepwell #{Stepwell::VERSION}\n")
  end

  it "names what is wrong with a command line, and what it may be meant to be" do
    {
      [] => /Usage: stepwell/, ["tasks"] => /similar subcommand.*'task'/, %w[task show] => /<ID>/,
      %w[task show 7] => /invalid value '7' for '<ID>'/,
      ["task", "list", "--state", "done"] => /possible values: pending, in_progress, complete/,
      ["task", "list", "--limit", "0"] => /0 is not in 1..=1000/,
      ["task", "list", "--since", "90"] => /needs a unit, such as 90s or 90m/,
      ["task", "list", "--workflow", "spec"] => %r{"spec" is no namespace/name},
      ["task", "submit", "spec/single", "--timeout", "3s"] => /--wait/,
      %w[dead-letters replay] => /<ID>/, %w[completions cmd] => /bash, elvish, fish, powershell, zsh/
    }.each do |arguments, message|
      ran = stepwell(*arguments)
      expect(ran).to have_attributes(code: 2, out: ""), arguments.join(" ")
      expect(ran.err).to match(message)
    end
  end

  it "prints completions for the common shells" do
    { "bash" => "complete -F _stepwell", "zsh" => "#compdef stepwell", "fish" => "complete -c stepwell",
      "powershell" => "Register-ArgumentCompleter", "elvish" => "edit:completion" }.each do |shell, text|
      ran = stepwell("completions", shell)
      expect(ran).to have_attributes(code: 0, err: "", out: include(text, "dead-letters", "idempotency-key"))
    end
  end

  it "completes in bash" do
    script = <<~BASH
      source <(cat)
      COMP_WORDS=(stepwell task sub) COMP_CWORD=2
      _stepwell stepwell sub task
      echo "${COMPREPLY[@]}"
    BASH
    completed, = Open3.capture2("bash", "-c", script, stdin_data: stepwell("completions", "bash").out)
    expect(completed).to eq("submit\n")
  end

  it "tells of work that it has to come first" do
    ran = stepwell("--json", "work", "-r", "./handlers")
    expect(ran).to have_attributes(code: 2, err: /give `work` first/)
  end

  it "ends in silence when nobody reads any more" do
    start_orchestrator
    define_single { |_| 1 }
    Stepwell.submit_all([{ workflow: "spec/single" }] * 2)
    reader, writer = IO.pipe
    reader.close
    pid = spawn({ "DATABASE_URL" => database_url }, *Specs::CommandLine::PROGRAM, "migrate", "--dry-run", out: writer)
    writer.close

    expect(Process.wait2(pid).last.exitstatus).to eq(0)
  end
end
