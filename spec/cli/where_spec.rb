# frozen_string_literal: true

require_relative "support"
require_relative "../where/support/pooler"

RSpec.describe "stepwell where it is not the owner's own server" do
  def check(name, env)
    stepwell("doctor", "--json", env: env).json.fetch("checks").find { |check| check["name"] == name }
  end

  describe "through PgBouncer in transaction mode" do
    let(:pooler) { Specs::Pooler.new }
    let(:env) do
      { "DATABASE_URL" => pooler.url(database_url[%r{/(\w+)\?}, 1]),
        "STEPWELL__DATABASE__PREPARED_STATEMENTS" => "false" }
    end

    after { pooler.stop }

    it "submits, follows and lists tasks, and doctor misses the direct URL" do
      define_single { |step| step.context["n"] }
      start_stepwell
      ran = stepwell("task", "submit", "spec/single", "-c", '{"n": 7}', "--wait", "--json", env: env)

      expect(ran.json).to include("state" => "complete", "results" => { "only" => 7 })
      expect(stepwell("task", "list", env: env).rows.map(&:first)).to eq([ran.json["id"]])
      expect(check("listen", env)).to include("verdict" => "warn", "fix" => /set database.direct_url/)
      expect(check("listen", env.merge("STEPWELL__DATABASE__DIRECT_URL" => database_url))).to include("verdict" => "ok")
      other = env.merge("STEPWELL__DATABASE__DIRECT_URL" => new_database)
      expect(check("connection", other)).to include("verdict" => "fail", "fix" => /both must lead to one database/)
    end
  end

  it "does for a role what the role may do, and says what it lacks" do
    define_single { |_| 1 }
    start_stepwell
    psql("do $$ begin create role caller login; exception when duplicate_object then null; end $$")
    psql("select stepwell.grant_role('caller', 'client')")
    env = { "DATABASE_URL" => database_url.sub("//stepwell@", "//caller@") }
    submitted = stepwell("task", "submit", "spec/single", env: env)
    list = %w[task list --since 1m --state complete]
    listed = eventually { stepwell(*list, env: env).then { |ran| ran unless ran.out.empty? } }
    refused = stepwell("pause", "spec", env: env)
    psql("drop owned by caller; drop role caller")

    expect(submitted).to have_attributes(code: 0, err: "")
    expect(listed.rows.map(&:first)).to eq([submitted.out.chomp])
    expect(refused).to have_attributes(code: 1, out: "", err: /pause_namespace.*grant_role\('caller', KIND\)/)
  end
end
