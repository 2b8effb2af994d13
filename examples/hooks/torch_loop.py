import torch
from torch.utils.tensorboard import SummaryWriter

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
writer = SummaryWriter("runs/first")
for step in range(20):
    x = torch.randn(16, 3)
    loss = (net(x) - x.sum(dim=1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    writer.add_scalar("loss", loss.item(), step)
writer.close()
torch.save(net.state_dict(), "net.pt")
