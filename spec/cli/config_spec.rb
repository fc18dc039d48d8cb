# frozen_string_literal: true

require_relative "support"

RSpec.describe "stepwell config show" do
  env = { "STEPWELL__ORCHESTRATOR__CYCLE" => nil, "STEPWELL__ORCHESTRATOR__POLLING_INTERVAL" => nil,
          "STEPWELL__WORKER__POLLING_INTERVAL" => nil, "STEPWELL__LOGGING__LEVEL" => nil, "STEPWELL_ENV" => "test",
          "DATABASE_URL" => "postgres://app:s3cret@db/shop", "STEPWELL__WORKER__LEASE" => "90s" }

  def write(path, yaml)
    path = File.join(folder, path)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, yaml)
  end

  it "tells every value and where it came from, without credentials" do
    write("config/stepwell.yml", "worker: {claim_batch: 7, lease: 80s}")
    write("config/environments/test.yml", "retention: {failed: never}")
    ran = stepwell("config", "show", env: env, chdir: folder)

    expect(ran).to have_attributes(code: 0, err: "")
    expect(ran.rows).to include(
      ["database.url", "postgres://app:***@db/shop", "DATABASE_URL"], %w[worker.lease 90s STEPWELL__WORKER__LEASE],
      %w[worker.claim_batch 7 config/stepwell.yml], %w[retention.failed never config/environments/test.yml],
      ["worker.polling_interval", "100ms", "default for test"], %w[dispatch.window 1000 default]
    )
  end

  it "tells it to programs, with options of the command line" do
    ran = stepwell("config", "show", "--json", "--database-url", "postgres://a:b@c/d", env: env, chdir: folder)

    expect(ran.json).to include(
      { "key" => "database.url", "value" => "postgres://a:***@c/d", "origin" => "program", "from" => "--database-url" },
      { "key" => "worker.concurrency", "value" => 10, "origin" => "default", "from" => "default" }
    )
    expect(ran.json.map { |setting| setting["key"] }).to include(*Stepwell::Native::Config.keys)
  end

  it "ends with 2 where something is wrong" do
    write("config/stepwell.yml", "worker: {leese: 90s}")
    ran = stepwell("config", "show", env: env, chdir: folder)

    expect(ran).to have_attributes(code: 2, out: "")
    expect(ran.err).to match(%r{config/stepwell.yml: unknown key worker.leese = 90s; did you mean worker.lease\?})
  end

  it "reads files that end in .yaml, and files without settings; two for the same are refused" do
    write("config/stepwell.yaml", "# nothing yet\nworker:\n")
    write("config/environments/test.yaml", "worker: {claim_batch: 7}")
    expect(stepwell("config", "show", env: env, chdir: folder).rows)
      .to include(%w[worker.claim_batch 7 config/environments/test.yaml])
    write("config/stepwell.yml", "")
    expect(stepwell("config", "show", env: env, chdir: folder)).to have_attributes(
      code: 2, err: %r{config/stepwell.yml and config/stepwell.yaml are both there: keep one}
    )
  end

  it "takes any environment, with its own file over the settings of production" do
    own = env.merge("STEPWELL_ENV" => nil, "RAILS_ENV" => " staging ", "STEPWELL__MASKING__KEYS" => " password , pin ,",
                    "STEPWELL__DATABASE__PREPARED_STATEMENTS" => "TRUE")
    write("config/environments/staging.yml", "worker: {claim_batch: 7}")
    expect(stepwell("config", "show", env: own, chdir: folder).rows).to include(
      %w[worker.claim_batch 7 config/environments/staging.yml],
      ["orchestrator.polling_interval", "200ms", "default for production"],
      ["masking.keys", '["password","pin"]', "STEPWELL__MASKING__KEYS"]
    )
    own["STEPWELL__DATABASE__PREPARED_STATEMENTS"] = "maybe"
    ran = stepwell("config", "show", env: own, chdir: folder)
    expect(ran).to have_attributes(code: 2, err: /prepared_statements = maybe: must be true or false \(also yes or no/)
  end

  it "refuses variables that are not UTF-8 by name, and shows nothing of them" do
    odd = "hunter2\xFF"
    { "DATABASE_URL" => odd, "STEPWELL__DATABASE__URL" => odd, "STEPWELL__WORKER__LEASE" => odd,
      "STEPWELL_ENV" => odd }.each do |name, value|
      ran = stepwell("config", "show", env: { "DATABASE_URL" => database_url, name => value })
      expect(ran).to have_attributes(code: 2, err: /the variable #{name} is not UTF-8/)
      expect(ran.out + ran.err).not_to include("hunter2")
    end
  end

  it "takes blanks around a variable for none of it" do
    own = env.merge("STEPWELL__WORKER__LEASE" => " 91s\n")
    ran = stepwell("config", "show", "--json", env: own)
    lease = ran.json.find { |setting| setting["key"] == "worker.lease" }
    expect(lease).to include("value" => "91s")
  end

  it "does not wait for a pipe that has the name of a file" do
    Dir.mktmpdir do |folder|
      Dir.mkdir(File.join(folder, "config"))
      File.mkfifo(File.join(folder, "config/stepwell.yml"))
      ran = stepwell("config", "show", chdir: folder)
      expect(ran).to have_attributes(code: 2, err: %r{config/stepwell.yml is no file})
    end
  end
end
