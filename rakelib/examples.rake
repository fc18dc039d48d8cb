# frozen_string_literal: true

desc "Run the examples: the demo on 40 orders, the odd ones among them"
task examples: :compile do
  Project.heading "examples"
  sh "bin/demo", "--orders", "examples/order_fulfilment/orders.jsonl", "--limit", "40"
end
